-- Shared: the line of a priority, a zset of ready jobs.
--
-- All scores are 0, so members sort as bytes: `<kind>:<arrived, us, 7 bytes><rest of the id>`. Each
-- kind is a line of its own, first come first served, and the first of every kind is found without
-- reading what waits behind it. So a kind that may not run hides no other.

-- Kinds that are looked at in one line, by name.
local KINDS = 64

local function place(id, arrived)
  local colon = string.find(id, ":", 1, true)
  local kind = colon and string.sub(id, 1, colon - 1) or id
  return kind .. ":" .. struct.pack(">I7", arrived) .. (colon and string.sub(id, colon + 1) or "")
end

-- What waits at a place: its kind, when it got its priority, its id.
local function job_at(member)
  local colon = string.find(member, ":", 1, true)
  local kind, rest = string.sub(member, 1, colon - 1), string.sub(member, colon + 8)
  return {
    kind = kind,
    arrived = struct.unpack(">I7", member, colon + 1),
    id = rest == "" and kind or kind .. ":" .. rest,
    member = member,
  }
end

-- The id alone, of a kind that is known.
local function id_at(member, kind)
  local rest = string.sub(member, #kind + 9)
  return rest == "" and kind or kind .. ":" .. rest
end

local function enter_line(lane, id, job)
  redis.call("ZADD", lane.key.ready[job[PRIORITY]], 0, place(id, job[ARRIVED]))
end

local function leave_line(lane, id, job)
  redis.call("ZREM", lane.key.ready[job[PRIORITY]], place(id, job[ARRIVED]))
end

-- As bytes. Lua's own comparison goes by the server's locale.
local function sorts_before(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x < y
    end
  end
  return #a < #b
end

local function is_before(a, b)
  if a.arrived ~= b.arrived then
    return a.arrived < b.arrived
  end
  return sorts_before(a.id, b.id)
end

-- Those of one kind, from the `from`th (0 is the first), at most `count`.
local function of_kind(line, kind, from, count)
  return redis.call("ZRANGEBYLEX", line, "[" .. kind .. ":", "(" .. kind .. ";", "LIMIT", from, count)
end

-- The first of each kind, the earliest first.
local function heads_of(line)
  local heads, from = {}, "-"
  for _ = 1, KINDS do
    local member = redis.call("ZRANGEBYLEX", line, from, "+", "LIMIT", 0, 1)[1]
    if not member then
      break
    end
    local head = job_at(member)
    heads[#heads + 1] = head
    -- A semicolon comes after a colon.
    from = "[" .. head.kind .. ";"
  end
  table.sort(heads, is_before)
  return heads
end
