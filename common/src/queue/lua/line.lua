-- Shared: the line of a priority, a zset of ready jobs.
--
-- All scores are 0, so members sort as bytes: `<kind>:<arrived, us, 7 bytes><id>`. Each kind is a line
-- of its own, first come first served, and the first of every kind is found without reading what waits
-- behind it. So a kind that may not run hides no other.

-- Kinds that are looked at in one line, by name.
local KINDS = 64

-- The id at a place of a kind that is known.
local function id_at(member, kind)
  return string.sub(member, #kind + 9)
end

-- What waits at a place: its kind, which the caller may know, when it got its priority, its id.
local function job_at(member, kind)
  kind = kind or kind_of(member)
  return {
    kind = kind,
    arrived = struct.unpack(">I7", member, #kind + 2),
    id = id_at(member, kind),
    member = member,
  }
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
  return redis.call("ZRANGEBYLEX", line, "[" .. kind .. ":", "(" .. kind .. ";", "LIMIT", digits(from), digits(count))
end

-- The first of each kind, the earliest first. Two are read at a time: where the second is not there,
-- nothing is.
local function heads_of(line)
  local heads, members = {}, redis.call("ZRANGE", line, "0", "1")
  while members[1] and #heads < KINDS do
    local head = job_at(members[1])
    heads[#heads + 1] = head
    -- A semicolon comes after a colon.
    members = members[2] and redis.call("ZRANGEBYLEX", line, "[" .. head.kind .. ";", "+", "LIMIT", "0", "2") or {}
  end
  if #heads > 1 then
    table.sort(heads, is_before)
  end
  return heads
end
