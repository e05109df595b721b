-- A plain sliding log of grants for each quota: at most L in any window. All or none.
--
-- KEYS  one for each quota
-- ARGV  per quota: limit, window in us
-- Returns us until a request may be granted; 0 when it was.

local time = redis.call("TIME")
local now = time[1] * 1000000 + time[2]
local wait = 0
for i, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  redis.call("ZREMRANGEBYSCORE", key, "-inf", string.format("%.0f", now - window))
  if redis.call("ZCARD", key) >= limit then
    local oldest = redis.call("ZRANGE", key, 0, 0, "WITHSCORES")
    wait = math.max(wait, tonumber(oldest[2]) + window - now)
  end
end
if wait == 0 then
  for _, key in ipairs(KEYS) do
    -- Two grants may fall into one microsecond.
    redis.call("ZADD", key, now, string.format("%.0f:%d", now, redis.call("ZCARD", key)))
  end
end
return wait
