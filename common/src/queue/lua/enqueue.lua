-- Enqueue jobs of one lane. A job is its record: what waits already is raised, what is being
-- worked on is marked dirty and runs once more afterwards.
--
-- KEYS  1 shard  2 lanes  3 wake  4 urgent  5.. the lane (lane.lua), without ledgers
-- ARGV  1 index and time (clock.lua)
--       2 lane
--       3 "ensure" to leave alone what is being worked on, and the time of what is delayed (the caller
--         only makes up for a loss)
--       4.. ids, each once; then of each in turn: its priority (one byte) and the trace
-- Returns { added, raised, dirty, coalesced }, how many of each.

local now = clock_us(KEYS[1], ARGV[1])
local lane = lane_at(ARGV[2], 5)
local ensure = ARGV[3] == "ensure"
local added, raised, dirty, coalesced, newly_dirty = 0, 0, 0, 0, 0
local jobs = (#ARGV - 3) / 2
local there = redis.call("HMGET", lane.key.jobs, unpack(ARGV, 4, 3 + jobs))

-- What becomes of jobs is written at the end, with one command for all.
local saved, entering, stamp = {}, { [0] = {}, {}, {}, {} }, stamp_of(now)
local function save(id, packed)
  local n = #saved
  saved[n + 1], saved[n + 2] = id, packed
end

local function enter(id, priority)
  local line = entering[priority]
  local n = #line
  line[n + 1], line[n + 2] = "0", place(id, stamp)
end

local function mark_dirty(id, packed, priority, request)
  if string.byte(packed, DIRTY_BYTE) == CLEAN then
    newly_dirty = newly_dirty + 1
  end
  if priority < string.byte(packed, DIRTY_BYTE) then
    local job = job_of(packed)
    job.dirty, job.trace = priority, string.sub(request, 2)
    save(id, packed_job(job))
  end
  dirty = dirty + 1
end

-- Only a webhook or a person pulls a delayed job forward; a failing one waits its time.
local function raise(id, packed, priority, request)
  local pull = not ensure and string.byte(packed) == DELAYED and priority <= 1
  if priority >= string.byte(packed, PRIORITY_BYTE) and not pull then
    coalesced = coalesced + 1
    return
  end
  local job = job_of(packed)
  if job.state == READY then
    leave_line(lane, id, job)
  end
  job.priority, job.trace = math.min(priority, job.priority), string.sub(request, 2)
  if pull then
    redis.call("ZREM", lane.key.delayed, id)
    job.state, job.attempt, job.round = READY, 0, 0
  end
  if job.state == READY then
    job.arrived = now
    enter(id, job.priority)
  end
  save(id, packed_job(job))
  raised = raised + 1
end

-- New jobs differ by what they are asked with alone.
local new_job = struct.pack(NEW_LAYOUT, READY, 0, now, CLEAN, 0)
local ids, requests, known = {}, {}, {}
for n = 1, jobs do
  local id, request, packed = ARGV[3 + n], ARGV[3 + jobs + n], there[n]
  if packed then
    local at = #ids + 1
    ids[at], requests[at], known[at] = id, request, packed
  else
    local at, line = 2 * added, entering[string.byte(request)]
    saved[at + 1], saved[at + 2] = id, new_job .. request
    at = #line
    line[at + 1], line[at + 2] = "0", place(id, stamp)
    added = added + 1
  end
end
local leased = known[1] and find_leased(lane, ids, known)
for n, packed in ipairs(known) do
  local priority = string.byte(requests[n])
  if not leased[n] then
    raise(ids[n], packed, priority, requests[n])
  elseif ensure then
    coalesced = coalesced + 1
  else
    mark_dirty(ids[n], packed, priority, requests[n])
  end
end

count_dirty(lane, newly_dirty)
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
