-- Extend the lease of a batch: the heartbeat of a worker. It is one lease for all jobs of the batch.
--
-- KEYS  1 shard  2.. the lane (lane.lua), without ledgers
-- ARGV  1 index and time (clock.lua)
--       2 length of a lease from now, us
--       3 fence
--       4.. ids
-- Returns the ids whose lease is lost: reaped, settled or held by another.

local now = clock_us(KEYS[1], ARGV[1])
local lane = lane_at("", 2)
local ids = { unpack(ARGV, 4) }
local held, lost = {}, {}
for _, id in ipairs(ids_of(redis.call("HGET", lane.key.batches, ARGV[3]))) do
  held[id] = true
end
for _, id in ipairs(ids) do
  if not held[id] then
    lost[#lost + 1] = id
  end
end
if #lost < #ids then
  redis.call("ZADD", lane.key.leases, "XX", digits(now + tonumber(ARGV[2])), ARGV[3])
end
return lost
