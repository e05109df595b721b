-- Shared: which lanes are due, and when the next one is.

local HINTS, LANES, PAGE, SOON_US = 8, 400, 100, 100000

-- The lanes that are due, the longest unserved first, and the earliest time at which a lane may have
-- something to run, or -1.
local function look_ahead(lanes, now)
  local first, hints = redis.call("ZRANGE", lanes, "0", digits(HINTS - 1), "WITHSCORES"), {}
  for i = 1, #first, 2 do
    if tonumber(first[i + 1]) <= now then
      hints[#hints + 1] = first[i]
    end
  end
  return hints, tonumber(first[2] or -1)
end

-- The same without lanes of platforms that the caller has no room for. When there is nothing else among
-- the first LANES, these go behind the others that are due, and the caller is to look again.
local function look_past(lanes, without, now)
  local hints, next_at, passed = {}, -1, {}
  for from = 0, LANES - 1, PAGE do
    local page = redis.call("ZRANGE", lanes, digits(from), digits(from + PAGE - 1), "WITHSCORES")
    for i = 1, #page, 2 do
      local name, at = page[i], tonumber(page[i + 1])
      if without[string.match(name, "^[^/]*")] then
        passed[#passed + 1] = { at = at, name = name }
      else
        next_at = next_at < 0 and at or next_at
        if at > now or #hints == HINTS then
          return hints, next_at
        end
        hints[#hints + 1] = name
      end
    end
    if #page < 2 * PAGE then
      return hints, next_at
    end
  end
  if next_at < 0 then
    for _, lane in ipairs(passed) do
      if lane.at < now then
        redis.call("ZADD", lanes, digits(now), lane.name)
      end
    end
    next_at = now + SOON_US
  end
  return hints, next_at
end
