-- Shared: which jobs of a line go together. Behind line.lua and quota.lua.

local READ, CHUNK = 400, 100

-- The first of each kind at `priority`. Kept while batches are taken.
local function heads(lane, priority)
  lane.heads[priority] = lane.heads[priority] or heads_of(lane.key.ready[priority])
  return lane.heads[priority]
end

-- The head's group, up to one batch of it, from the first READ of its kind. `next` is the first of the
-- kind that stays, `whole` says that nothing stays between those that are taken.
local function batch_of(lane, priority, head)
  local most, kind, group = kind_limits(lane, head.kind)[BATCH], head.kind, group_of(head.id)
  -- Without a slash in it the group is the kind, of all ids that have none.
  local prefix = group == kind and "" or group .. "/"
  local batch = { priority = priority, kind = kind, members = {}, ids = {}, whole = true }
  local members, ids, from, count = batch.members, batch.ids, 0, math.min(most + 1, CHUNK)
  while #ids < most and from < READ do
    local chunk = of_kind(lane.key.ready[priority], kind, from, count)
    for _, member in ipairs(chunk) do
      local id = id_at(member, kind)
      local fits = not string.find(id, "/", #prefix + 1, true)
        and (prefix == "" or string.sub(id, 1, #prefix) == prefix)
      if #ids < most and fits then
        members[#members + 1] = member
        ids[#ids + 1] = id
        batch.whole = batch.whole and not batch.next
      elseif not batch.next then
        batch.next = member
      end
    end
    if #chunk < count then
      batch.all_read = true
      break
    end
    from, count = from + count, CHUNK
  end
  return batch
end

local function take_out_of_line(lane, batch)
  local line, members = lane.key.ready[batch.priority], batch.members
  if batch.whole and #members > 1 then
    redis.call("ZREMRANGEBYLEX", line, "[" .. members[1], "[" .. members[#members])
  else
    redis.call("ZREM", line, unpack(members))
  end
  local rest = {}
  for _, head in ipairs(heads(lane, batch.priority)) do
    if head.kind ~= batch.kind then
      rest[#rest + 1] = head
    end
  end
  local member = batch.next or not batch.all_read and of_kind(line, batch.kind, 0, 1)[1]
  if member then
    rest[#rest + 1] = job_at(member)
    table.sort(rest, is_before)
  end
  lane.heads[batch.priority] = rest
end
