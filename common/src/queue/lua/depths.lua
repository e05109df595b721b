-- How much waits in a lane, and what holds it.
--
-- KEYS  1 shard  2.. the lane (lane.lua), without ledgers
-- ARGV  1 index and time (clock.lua)
-- Returns { ready0, ready1, ready2, ready3, delayed, leased, age of the oldest ready job in us,
--           us until it is thawed or 0, 1 if paused, 1 if a ledger is closed }.

local now = clock_us(KEYS[1], ARGV[1])
local lane = lane_at("", 2)
local depths, oldest = {}, now
for priority = 0, 3 do
  depths[priority + 1] = redis.call("ZCARD", lane.key.ready[priority])
  local first = heads_of(lane.key.ready[priority])[1]
  oldest = math.min(oldest, first and first.arrived or now)
end
local frozen = tonumber(redis.call("HGET", lane.key.state, "frozen") or 0)
depths[5] = redis.call("ZCARD", lane.key.delayed)
depths[6] = tonumber(redis.call("HGET", lane.key.state, "leased") or 0)
depths[7] = now - oldest
depths[8] = math.max(0, frozen - now)
depths[9] = redis.call("HEXISTS", lane.key.state, "paused")
-- What is of an earlier generation will be closed by the first claim.
local closed = redis.call("HMGET", lane.key.state, "closed", "generation")
depths[10] = (closed[1] or closed[2] and closed[2] ~= generation) and 1 or 0
return depths
