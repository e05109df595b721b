-- Settle leases, and the permits that were used under them.
--
-- KEYS  1 shard  2 lanes  3 wake  4 urgent  5.. the lane (lane.lua), then one ledger for each quota
-- ARGV  1 index and time (clock.lua)
--       2 lane  3 limits as JSON (quota.lua)
--       4 time from a permit's grant until its request is answered or given up, us
--       5 number of permits
--       6.. per permit: id, kind, 1 if a request was sent under it or 0, remaining as the platform
--           said or -1, until reset in us, freeze in us or 0, what both are about: "lane" or "kind"
--       then the number of leases, of each its fence and how many of the ids are under it; the ids,
--       each once; and of each in turn its outcome:
--         ack              done
--         again US ROUND   done, and look once more after the delay, as this round
--         nack US          failed: try again after the delay, which nothing shortens
--         defer US         not now: try again after the delay; this was no attempt
--         bury             given up; the dead letter is in Postgres already
-- Returns which of the ids, counted from 1, are under no such lease any more: for them nothing was done.

local now = clock_us(KEYS[1], ARGV[1])
local lane = lane_at(ARGV[2], 5)
load_quotas(lane, cjson.decode(ARGV[3]), 5 + LANE_KEYS, now, tonumber(ARGV[4]))

-- A lane that this Redis sees for the first time is opened by who claims it, jobs or not.
local wanted_at = lane.state.closed and now or math.huge
local permits, arg = tonumber(ARGV[5]), 6
local answers, free_at = {}, math.huge
for at = arg, arg + 7 * (permits - 1), 7 do
  local permit, kind, sent = ARGV[at], ARGV[at + 1], ARGV[at + 2] == "1"
  if sent then
    answers[kind] = answers[kind] or {}
    table.insert(answers[kind], permit)
  else
    free_at = now
  end
end
for kind, its_permits in pairs(answers) do
  free_at = math.min(free_at, answered(lane, kind, its_permits, now))
end
-- Slots may now free earlier than the lane was told; it must not sleep past that.
if permits > 0 and redis.call("ZSCORE", KEYS[2], lane.name) then
  wanted_at = math.min(wanted_at, free_at)
end
for _ = 1, permits do
  local permit, kind, sent = ARGV[arg], ARGV[arg + 1], ARGV[arg + 2] == "1"
  local remaining, reset_us, freeze_us = tonumber(ARGV[arg + 3]), tonumber(ARGV[arg + 4]), tonumber(ARGV[arg + 5])
  if not sent then
    give_back(lane, kind, tonumber(permit), now)
  end
  if ARGV[arg + 6] == "kind" then
    freeze_kind(lane, kind, now + (remaining == 0 and math.max(freeze_us, reset_us) or freeze_us), now)
  else
    if remaining >= 0 then
      believe(lane, kind, remaining, reset_us, permit, now)
    end
    freeze(lane, now + freeze_us, now)
  end
  arg = arg + 7
end

local leases = tonumber(ARGV[arg])
local before = arg + 2 * leases
local jobs = (#ARGV - before) / 2

-- Of each lease, how many jobs are under it (lane.lua).
local counts, left = {}, {}
for n = 1, leases do
  counts[n] = ARGV[arg + 2 * n - 1] .. ":n"
end
if jobs > 0 then
  left = redis.call("HMGET", lane.key.batches, unpack(counts))
end

-- Whether all that is under these leases ends, and was left alone since it was claimed: then nothing of
-- it has to be read.
local function all_end()
  for n = 1, leases do
    local count = ARGV[arg + 2 * n]
    if count ~= "0" and left[n] ~= count then
      return false
    end
  end
  for n = before + jobs + 1, #ARGV do
    if ARGV[n] ~= "ack" and ARGV[n] ~= "bury" then
      return false
    end
  end
  return true
end

-- What is written with one command for all.
local lost, done, saved, urgent = {}, {}, {}, false
local entering, delayed, stamp = { [0] = {}, {}, {}, {} }, {}, stamp_of(now)

local function back_in_line(id, job, priority)
  job[STATE], job[PRIORITY], job[ARRIVED] = READY, priority, now
  local line = entering[priority]
  line[#line + 1] = "0"
  line[#line + 1] = place(id, stamp)
  wanted_at = now
  urgent = urgent or priority <= 1
end

local function delay(id, job, state, delay_us)
  job[STATE] = state
  delayed[#delayed + 1] = digits(now + delay_us)
  delayed[#delayed + 1] = id
  wanted_at = math.min(wanted_at, now + delay_us)
end

local function come_back(id, job, outcome)
  local word, delay_us, round = string.match(outcome, "^(%a+) ?(%d*) ?(%d*)$")
  local asked = job[DIRTY]
  delay_us, job[DIRTY] = tonumber(delay_us), CLEAN
  if word == "nack" then
    job[PRIORITY] = math.min(job[PRIORITY], asked)
    delay(id, job, BACKOFF, delay_us)
  elseif asked ~= CLEAN then
    -- Somebody asked while it was worked on: what was seen may be old. Look again at once.
    job[ATTEMPT], job[ROUND] = 0, 0
    back_in_line(id, job, asked)
  elseif word == "again" then
    job[ATTEMPT], job[ROUND] = 0, tonumber(round)
    if delay_us > 0 then
      job[ARRIVED] = now
      delay(id, job, DELAYED, delay_us)
    else
      back_in_line(id, job, job[PRIORITY])
    end
  else
    job[ATTEMPT] = math.max(0, job[ATTEMPT] - 1)
    delay(id, job, DELAYED, delay_us)
  end
  saved[#saved + 1] = id
  saved[#saved + 1] = packed_job(job)
end

-- So many jobs of each lease have ended, or go back. A lease ends with its last.
local function let_go(ended)
  local gone, kept, total = {}, {}, 0
  for n = 1, leases do
    if ended[n] > 0 then
      local rest = math.abs(tonumber(left[n] or 0)) - ended[n]
      total = total + ended[n]
      if rest > 0 then
        kept[#kept + 1] = counts[n]
        kept[#kept + 1] = digits(-rest)
      else
        gone[#gone + 1] = ARGV[arg + 2 * n - 1]
        gone[#gone + 1] = counts[n]
      end
    end
  end
  if #kept > 0 then
    redis.call("HSET", lane.key.batches, unpack(kept))
  end
  if #gone > 0 then
    redis.call("HDEL", lane.key.batches, unpack(gone))
    -- Names of counts are none of its members.
    redis.call("ZREM", lane.key.leases, unpack(gone))
  end
  if total > 0 then
    count_leased(lane, -total)
  end
end

local ended = {}
if jobs > 0 and all_end() then
  done = { unpack(ARGV, before + 1, before + jobs) }
  for n = 1, leases do
    ended[n] = tonumber(ARGV[arg + 2 * n])
  end
else
  local there = jobs > 0 and redis.call("HMGET", lane.key.jobs, unpack(ARGV, before + 1, before + jobs))
  local last = 0
  for n = 1, leases do
    local mark, first = leased_by(tonumber(ARGV[arg + 2 * n - 1])), last + 1
    ended[n], last = 0, last + tonumber(ARGV[arg + 2 * n])
    for at = first, last do
      local id, packed, outcome = ARGV[before + at], there[at], ARGV[before + jobs + at]
      local ends = outcome == "ack" or outcome == "bury"
      if not is_held(packed, mark) then
        lost[#lost + 1] = at
      else
        ended[n] = ended[n] + 1
        if ends and string.byte(packed, DIRTY_BYTE) == CLEAN then
          done[#done + 1] = id
        else
          come_back(id, job_of(packed), outcome)
        end
      end
    end
  end
end
let_go(ended)
if #done > 0 then
  redis.call("HDEL", lane.key.jobs, unpack(done))
end
if #saved > 0 then
  redis.call("HSET", lane.key.jobs, unpack(saved))
end
if #delayed > 0 then
  redis.call("ZADD", lane.key.delayed, unpack(delayed))
end
enter_lines(lane, entering)
save_state(lane)
if urgent then
  has_urgent(KEYS[4], lane, now)
end
if wanted_at < math.huge then
  wants_claim(KEYS[2], KEYS[3], lane, wanted_at, now)
end
return lost
