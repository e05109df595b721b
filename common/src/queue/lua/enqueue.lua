-- Enqueue jobs of one lane. A job is its record: what waits already is raised, what is being
-- worked on is marked dirty and runs once more afterwards.
--
-- KEYS  1 shard  2 lanes  3 wake  4 urgent  5.. the lane (lane.lua), without ledgers
-- ARGV  1 index and time (clock.lua)
--       2 lane
--       3 "ensure" to leave alone what is being worked on or delayed (the caller only makes up for a
--         loss)
--       4.. per job: id, priority, delay in us, trace
-- Returns { added, raised, dirty, coalesced }, how many of each.

local now = clock_us(KEYS[1], ARGV[1])
local lane = lane_at(ARGV[2], 5)
local ensure = ARGV[3] == "ensure"
local added, raised, dirty, coalesced = 0, 0, 0, 0
local first = math.huge

local asked = {}
for i = 4, #ARGV, 4 do
  asked[#asked + 1] = ARGV[i]
end
local packed = redis.call("HMGET", lane.key.jobs, unpack(asked))

-- What becomes of jobs is written at the end, with one command for all. An id that stands twice finds
-- what the first has made of it.
local changed, changes = {}, {}
local function change(id, job)
  if not changed[id] then
    changed[id] = job
    changes[#changes + 1] = id
  end
end

local function make_ready(job)
  job[STATE], job[ARRIVED] = READY, now
  first = now
end

for n, id in ipairs(asked) do
  local arg = 4 * n
  local priority, delay_us, trace = tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2]), ARGV[arg + 3]
  local job = changed[id] or packed[n] and cmsgpack.unpack(packed[n])
  if not job then
    job = { READY, priority, now, 0, 0, -1, 0, trace }
    if delay_us > 0 then
      job[STATE] = DELAYED
      redis.call("ZADD", lane.key.delayed, now + delay_us, id)
      first = math.min(first, now + delay_us)
    else
      make_ready(job)
    end
    added = added + 1
    change(id, job)
  elseif job[STATE] == LEASED then
    if ensure then
      coalesced = coalesced + 1
    else
      if job[DIRTY] < 0 or priority < job[DIRTY] then
        job[DIRTY], job[TRACE] = priority, trace
        change(id, job)
      end
      dirty = dirty + 1
    end
  else
    local more_urgent = priority < job[PRIORITY]
    -- Only a webhook or a person pulls a delayed job forward; a failing one waits its time.
    local pull = not ensure and job[STATE] == DELAYED and priority <= 1 and delay_us == 0
    if more_urgent or pull then
      if job[STATE] == READY and not changed[id] then
        leave_line(lane, id, job)
      end
      job[PRIORITY], job[TRACE] = math.min(priority, job[PRIORITY]), trace
      if pull then
        redis.call("ZREM", lane.key.delayed, id)
        job[ATTEMPT], job[ROUND] = 0, 0
      end
      if pull or job[STATE] == READY then
        make_ready(job)
      end
      change(id, job)
      raised = raised + 1
    else
      coalesced = coalesced + 1
    end
  end
end

local entering, saved = { [0] = {}, {}, {}, {} }, {}
for n, id in ipairs(changes) do
  local job = changed[id]
  if job[STATE] == READY then
    local line = entering[job[PRIORITY]]
    line[#line + 1] = 0
    line[#line + 1] = place(id, job[ARRIVED])
  end
  saved[2 * n - 1], saved[2 * n] = id, cmsgpack.pack(job)
end
for priority = 0, 3 do
  if #entering[priority] > 0 then
    redis.call("ZADD", lane.key.ready[priority], unpack(entering[priority]))
  end
end
if #saved > 0 then
  redis.call("HSET", lane.key.jobs, unpack(saved))
end
if first < math.huge then
  wants_claim(KEYS[2], KEYS[3], lane, first, now)
end
if #entering[0] + #entering[1] > 0 then
  has_urgent(KEYS[4], lane, now)
end
return { added, raised, dirty, coalesced }
