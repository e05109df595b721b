-- A plain token bucket for each quota: capacity L, refilled at L/T, full at first. All or none.
--
-- KEYS  one for each quota
-- ARGV  per quota: limit, window in us
-- Returns us until a request may be granted; 0 when it was.

local time = redis.call("TIME")
local now = time[1] * 1000000 + time[2]
local wait, levels = 0, {}
for i, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local level, at = unpack(redis.call("HMGET", key, "level", "at"))
  levels[i] = math.min(limit, (tonumber(level) or limit) + (now - (tonumber(at) or now)) * limit / window)
  wait = math.max(wait, math.ceil((1 - levels[i]) * window / limit))
end
if wait == 0 then
  for i, key in ipairs(KEYS) do
    redis.call("HSET", key, "level", string.format("%.6f", levels[i] - 1), "at", string.format("%.0f", now))
  end
end
return wait
