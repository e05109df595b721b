-- Freeze, thaw, pause or resume a lane.
--
-- KEYS  1 shard  2 lanes  3 wake  4 urgent  5.. the lane (lane.lua), without ledgers
-- ARGV  1 index and time (clock.lua)
--       2 lane  3 "freeze", "thaw", "pause" or "resume"  4 length of a freeze, us
-- Returns the time until which the lane is frozen now, us, or 0.

local now = clock_us(KEYS[1], ARGV[1])
local lane = lane_at(ARGV[2], 5)
local frozen = tonumber(redis.call("HGET", lane.key.state, "frozen") or 0)
if ARGV[3] == "freeze" then
  frozen = math.max(frozen, now + tonumber(ARGV[4]))
  redis.call("HSET", lane.key.state, "frozen", digits(frozen))
elseif ARGV[3] == "pause" then
  redis.call("HSET", lane.key.state, "paused", "1")
elseif ARGV[3] == "thaw" then
  redis.call("HDEL", lane.key.state, "frozen")
  for _, field in ipairs(redis.call("HKEYS", lane.key.state)) do
    if string.sub(field, 1, 2) == "f:" then
      redis.call("HDEL", lane.key.state, field)
    end
  end
  frozen = 0
else
  redis.call("HDEL", lane.key.state, "paused")
end
if (ARGV[3] == "thaw" or ARGV[3] == "resume") and redis.call("EXISTS", lane.key.jobs) == 1 then
  wants_claim(KEYS[2], KEYS[3], lane, now, now)
end
return frozen > now and frozen or 0
