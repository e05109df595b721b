-- Shared: which jobs of a line go together, and what a claim takes out of it. Behind line.lua and
-- quota.lua.

local READ, CHUNK = 400, 100

-- The first of each kind, kept while batches are taken; those behind them of kinds that were read ahead;
-- and what is to leave the lines.
local function load_lines(lane)
  lane.heads, lane.ahead, lane.leaving = {}, {}, {}
  for priority = 0, 3 do
    lane.heads[priority] = heads_of(lane.key.ready[priority])
  end
end

-- With one command for all, before the line is read again.
local function write_leaving(lane, priority)
  local leaving = lane.leaving[priority]
  if leaving then
    redis.call("ZREM", lane.key.ready[priority], unpack(leaving))
    lane.leaving[priority] = nil
  end
end

-- Whether nothing waits in the lane but one kind at one priority.
local function waits_for_one(lane)
  return #lane.heads[0] + #lane.heads[1] + #lane.heads[2] + #lane.heads[3] == 1
end

-- The head's group, up to one batch of it, from the first READ of its kind. `next` is the first of the
-- kind that stays, `whole` says that nothing stays between those that are taken. Where jobs of this kind
-- share no request they are `alone`: up to `requests` batches of one.
local function batch_of(lane, priority, head, requests)
  local most, kind = kind_limits(lane, head.kind).batch, head.kind
  local alone = most == 1
  local batch = { priority = priority, kind = kind, members = {}, ids = {}, whole = true, alone = alone }
  local members, ids, count = batch.members, batch.ids, 0
  if alone and requests == 1 then
    members[1], ids[1] = head.member, head.id
    return batch
  end
  if alone then
    -- Those of its kind that were taken one by one. What was read ahead of these is of no use after: the
    -- claim has enough, or the quota is used up.
    write_leaving(lane, priority)
    most = requests
  end
  local group = group_of(head.id)
  -- Without a slash in it the group is the kind, of all ids that have none.
  local prefix = group == kind and "" or group .. "/"
  local find, sub, skip, start = string.find, string.sub, #kind + 9, #kind + 9 + #prefix
  local from, size = 0, math.min(most + 1, CHUNK)
  while count < most and from < READ do
    local chunk = of_kind(lane.key.ready[priority], kind, from, size)
    for _, member in ipairs(chunk) do
      -- Its id begins behind the skipped.
      local fits = alone
        or not find(member, "/", start, true) and (prefix == "" or sub(member, skip, start - 1) == prefix)
      if fits and count < most then
        count = count + 1
        members[count], ids[count] = member, sub(member, skip)
        if batch.next then
          batch.whole = false
        end
      elseif not batch.next then
        batch.next = member
      end
    end
    if #chunk < size then
      batch.all_read = true
      break
    end
    from, size = from + size, CHUNK
  end
  return batch
end

-- Who comes behind a job that shares its request with nobody. As many are read as may follow in this
-- claim.
local function next_alone(lane, priority, kind, may_follow)
  lane.ahead[priority] = lane.ahead[priority] or {}
  local ahead = lane.ahead[priority][kind]
  if not ahead or ahead.at == #ahead then
    write_leaving(lane, priority)
    ahead = of_kind(lane.key.ready[priority], kind, 0, may_follow + 1)
    ahead.at = 0
    lane.ahead[priority][kind] = ahead
  end
  ahead.at = ahead.at + 1
  return ahead[ahead.at]
end

-- - `may_follow`: how many batches are likely to be taken from this lane after this one.
local function take_out_of_line(lane, batch, may_follow)
  local priority, kind, members, member = batch.priority, batch.kind, batch.members, nil
  local line = lane.key.ready[priority]
  if batch.alone and #members == 1 then
    lane.leaving[priority] = lane.leaving[priority] or {}
    table.insert(lane.leaving[priority], members[1])
    member = next_alone(lane, priority, kind, may_follow)
  else
    if batch.whole and #members > 1 then
      redis.call("ZREMRANGEBYLEX", line, "[" .. members[1], "[" .. members[#members])
    else
      redis.call("ZREM", line, unpack(members))
    end
    member = batch.next or not batch.all_read and of_kind(line, kind, 0, 1)[1]
  end
  local rest = member and { job_at(member, kind) } or {}
  for _, head in ipairs(lane.heads[priority]) do
    if head.kind ~= kind then
      rest[#rest + 1] = head
    end
  end
  if #rest > 1 then
    table.sort(rest, is_before)
  end
  lane.heads[priority] = rest
end
