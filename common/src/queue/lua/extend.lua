-- Extend leases: the heartbeat of a worker.
--
-- KEYS  1 shard  2.. the lane (lane.lua), without ledgers
-- ARGV  1 index and time (clock.lua)
--       2 length of a lease from now, us
--       3.. per job: id, fence
-- Returns the ids whose lease is lost: reaped, settled or held by another.

local now = clock_us(KEYS[1], ARGV[1])
local lane = lane_at("", 2)
local lost = {}
for i = 3, #ARGV, 2 do
  local id = ARGV[i]
  local job = load_job(lane.key.jobs, id)
  if job and job[STATE] == LEASED and job[FENCE] == tonumber(ARGV[i + 1]) then
    redis.call("ZADD", lane.key.leases, now + tonumber(ARGV[2]), id)
  else
    lost[#lost + 1] = id
  end
end
return lost
