-- Shared: the shard's clock and its fences. All times are microseconds since the Unix epoch.

-- Numbers above 10^14 lose digits in Lua's own conversion to text.
local function digits(number)
  return string.format("%.0f", number)
end

-- This server's clock, or `given` (tests). Never earlier than any time it gave before: a server
-- whose clock is set back stands still until it has caught up.
local function clock_us(shard, given)
  local now
  if given == "" then
    local time = redis.call("TIME")
    now = time[1] * 1000000 + time[2]
  else
    now = tonumber(given)
  end
  local last = tonumber(redis.call("HGET", shard, "clock") or 0)
  if now <= last then
    return last
  end
  redis.call("HSET", shard, "clock", digits(now))
  return now
end

-- The next fence: grows by one at least, and is never below the clock, so that it goes on growing
-- when this Redis lost the last one.
local function next_fence(shard, now)
  local last = tonumber(redis.call("HGET", shard, "fence") or 0)
  local fence = math.max(last + 1, now)
  redis.call("HSET", shard, "fence", digits(fence))
  return fence
end
