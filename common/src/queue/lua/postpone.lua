-- Put a lane that its finder cannot serve behind the others, or forget that it wants a claim.
--
-- KEYS  1 shard  2 lanes
-- ARGV  1 index and time (clock.lua)  2 lane  3 by how long from now, us, or "" to forget it
-- Returns 1 when it stood there.

local now = clock_us(KEYS[1], ARGV[1])
if ARGV[3] == "" then
  return redis.call("ZREM", KEYS[2], ARGV[2])
end
if not redis.call("ZSCORE", KEYS[2], ARGV[2]) then
  return 0
end
redis.call("ZADD", KEYS[2], "XX", now + tonumber(ARGV[3]), ARGV[2])
return 1
