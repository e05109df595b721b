-- Enqueue jobs of one lane. A job is its record: what waits already is raised, what is being
-- worked on is marked dirty and runs once more afterwards.
--
-- KEYS  1 shard  2 lanes  3 wake  4 urgent  5.. the lane (lane.lua), without ledgers
-- ARGV  1 index and time (clock.lua)
--       2 lane
--       3 "ensure" to leave alone what is being worked on or delayed (the caller only makes up for a
--         loss)
--       4.. ids, each once; then of each in turn: its priority (one byte) and the trace
-- Returns { added, raised, dirty, coalesced }, how many of each.

local now = clock_us(KEYS[1], ARGV[1])
local lane = lane_at(ARGV[2], 5)
local ensure = ARGV[3] == "ensure"
local added, raised, dirty, coalesced = 0, 0, 0, 0
local jobs = (#ARGV - 3) / 2
local there = redis.call("HMGET", lane.key.jobs, unpack(ARGV, 4, 3 + jobs))

-- What becomes of jobs is written at the end, with one command for all.
local saved, entering = {}, { [0] = {}, {}, {}, {} }
local function save(id, packed)
  saved[#saved + 1] = id
  saved[#saved + 1] = packed
end

local stamp = stamp_of(now)
local function enter(id, priority)
  local line = entering[priority]
  line[#line + 1] = "0"
  line[#line + 1] = place(id, stamp)
end

-- Its batch is settled job by job.
local function look_at_batch(fence)
  local field = digits(fence) .. ":n"
  local left = tonumber(redis.call("HGET", lane.key.batches, field) or 0)
  if left > 0 then
    redis.call("HSET", lane.key.batches, field, digits(-left))
  end
end

-- New jobs differ by what they are asked with alone.
local new_job = struct.pack(NEW_LAYOUT, 0, READY, 0, now, CLEAN, 0)

local function mark_dirty(id, job, priority, trace)
  if priority < job[DIRTY] then
    job[DIRTY], job[TRACE] = priority, trace
    save(id, packed_job(job))
    look_at_batch(job[FENCE])
  end
  dirty = dirty + 1
end

-- Only a webhook or a person pulls a delayed job forward; a failing one waits its time.
local function raise(id, job, priority, trace)
  local pull = not ensure and job[STATE] == DELAYED and priority <= 1
  if priority >= job[PRIORITY] and not pull then
    coalesced = coalesced + 1
    return
  end
  if job[STATE] == READY then
    leave_line(lane, id, job)
  end
  job[PRIORITY], job[TRACE] = math.min(priority, job[PRIORITY]), trace
  if pull then
    redis.call("ZREM", lane.key.delayed, id)
    job[STATE], job[ATTEMPT], job[ROUND] = READY, 0, 0
  end
  if job[STATE] == READY then
    job[ARRIVED] = now
    enter(id, job[PRIORITY])
  end
  save(id, packed_job(job))
  raised = raised + 1
end

for n = 1, jobs do
  local id, request, packed = ARGV[3 + n], ARGV[3 + jobs + n], there[n]
  local priority = string.byte(request)
  if not packed then
    save(id, new_job .. request)
    enter(id, priority)
    added = added + 1
  else
    local job, trace = job_of(packed), string.sub(request, 2)
    if job[STATE] ~= LEASED then
      raise(id, job, priority, trace)
    elseif ensure then
      coalesced = coalesced + 1
    else
      mark_dirty(id, job, priority, trace)
    end
  end
end

if #saved > 0 then
  redis.call("HSET", lane.key.jobs, unpack(saved))
end
local enters = false
for priority = 0, 3 do
  if #entering[priority] > 0 then
    redis.call("ZADD", lane.key.ready[priority], unpack(entering[priority]))
    enters = true
  end
end
if enters then
  wants_claim(KEYS[2], KEYS[3], lane, now, now)
end
if #entering[0] + #entering[1] > 0 then
  has_urgent(KEYS[4], lane, now)
end
return { added, raised, dirty, coalesced }
