-- Enqueue jobs of one lane. A job is its record: what waits already is raised, what is being
-- worked on is marked dirty and runs once more afterwards.
--
-- KEYS  1 shard  2 lanes  3 wake  4.. the lane (lane.lua), without ledgers
-- ARGV  1 index and time (clock.lua)
--       2 lane
--       3 "ensure" to leave alone what is being worked on or delayed (the caller only makes up for a
--         loss)
--       4.. per job: id, priority, delay in us, trace
-- Returns { added, raised, dirty, coalesced }, how many of each.

local now = clock_us(KEYS[1], ARGV[1])
local lane = lane_at(ARGV[2], 4)
local ensure = ARGV[3] == "ensure"
local added, raised, dirty, coalesced = 0, 0, 0, 0
local first = math.huge

local function make_ready(id, job)
  job[STATE], job[ARRIVED] = READY, now
  enter_line(lane, id, job)
  first = now
end

for i = 4, #ARGV, 4 do
  local id, priority, delay_us = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local job = load_job(lane.key.jobs, id)
  if not job then
    job = { READY, priority, now, 0, 0, -1, 0, ARGV[i + 3] }
    if delay_us > 0 then
      job[STATE] = DELAYED
      redis.call("ZADD", lane.key.delayed, now + delay_us, id)
      first = math.min(first, now + delay_us)
    else
      make_ready(id, job)
    end
    added = added + 1
    save_job(lane.key.jobs, id, job)
  elseif job[STATE] == LEASED then
    if ensure then
      coalesced = coalesced + 1
    else
      if job[DIRTY] < 0 or priority < job[DIRTY] then
        job[DIRTY], job[TRACE] = priority, ARGV[i + 3]
        save_job(lane.key.jobs, id, job)
      end
      dirty = dirty + 1
    end
  else
    local more_urgent = priority < job[PRIORITY]
    -- Only a webhook or a person pulls a delayed job forward; a failing one waits its time.
    local pull = not ensure and job[STATE] == DELAYED and priority <= 1 and delay_us == 0
    if more_urgent or pull then
      if job[STATE] == READY then
        leave_line(lane, id, job)
      end
      job[PRIORITY], job[TRACE] = math.min(priority, job[PRIORITY]), ARGV[i + 3]
      if pull then
        redis.call("ZREM", lane.key.delayed, id)
        job[ATTEMPT], job[ROUND] = 0, 0
      end
      if pull or job[STATE] == READY then
        make_ready(id, job)
      end
      save_job(lane.key.jobs, id, job)
      raised = raised + 1
    else
      coalesced = coalesced + 1
    end
  end
end

if first < math.huge then
  wants_claim(KEYS[2], KEYS[3], lane, first, now)
end
return { added, raised, dirty, coalesced }
