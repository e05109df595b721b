-- Acquire one more permit inside a job.
--
-- KEYS  1 shard  2.. the lane (lane.lua), then one ledger for each quota
-- ARGV  1 index and time (clock.lua)
--       2 limits (quota.lua)
--       3 time from a permit's grant until its request is answered or given up, us
--       4 kind of job  5 priority  6 "probe" to get one in a paused lane too, or ""
-- Returns { permit, or 0 when there is none; us until there may be one, or 0 }: never later than the
-- earliest instant at which there can be one, whatever is answered meanwhile.

local now = clock_us(KEYS[1], ARGV[1])
local lane = lane_at("", 2)
load_quotas(lane, ARGV[2], 2 + LANE_KEYS, now, tonumber(ARGV[3]))
local wait = quota_wait(lane, ARGV[4], tonumber(ARGV[5]) >= 2, now, true)
if lane.state.paused and ARGV[6] ~= "probe" then
  wait = math.max(wait, 1000000)
end
wait = math.max(wait, tonumber(lane.state.frozen or 0) - now)
local permit = 0
if wait <= 0 then
  permit, wait = next_fence(now), 0
  save_fence(KEYS[1])
  take(lane, ARGV[4], { digits(permit) }, now, tonumber(ARGV[3]))
end
save_taken(lane)
return { permit, wait }
