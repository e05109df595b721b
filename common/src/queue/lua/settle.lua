-- Settle leases, and the permits that were used under them.
--
-- KEYS  1 shard  2 lanes  3 wake  4 urgent  5.. the lane (lane.lua), then one ledger for each quota
-- ARGV  1 index and time (clock.lua)
--       2 lane  3 limits (quota.lua)
--       4 time from a permit's grant until its request is answered or given up, us
--       5 number of permits
--       6.. per permit: id, kind, 1 if a request was sent under it or 0, remaining as the platform
--           said or -1, until reset in us, freeze in us or 0, what both are about: "lane" or "kind"
--       then the number of leases, of each its fence and how many of the ids are under it; the ids,
--       each once; and of each in turn its outcome, or one for all:
--         ack              done
--         again US ROUND   done, and look once more after the delay, as this round
--         nack US          failed: try again after the delay, which nothing shortens
--         defer US         not now: try again after the delay; this was no attempt
--         bury             given up; the dead letter is in Postgres already
-- Returns which of the ids, counted from 1, are under no such lease any more: for them nothing was done.

local now = clock_us(KEYS[1], ARGV[1])
local lane = lane_at(ARGV[2], 5)
load_quotas(lane, ARGV[3], 5 + LANE_KEYS, now, tonumber(ARGV[4]))

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
-- What the platform said with the answer to a permit.
local function heed(permit, kind, remaining, reset_us, freeze_us, about)
  if about == "kind" then
    freeze_kind(lane, kind, now + (remaining == 0 and math.max(freeze_us, reset_us) or freeze_us), now)
    return
  end
  if remaining >= 0 then
    believe(lane, kind, remaining, reset_us, permit, now)
  end
  freeze(lane, now + freeze_us, now)
end

for _ = 1, permits do
  local permit, kind, sent, remaining, reset, freezes, about = unpack(ARGV, arg, arg + 6)
  if sent ~= "1" then
    give_back(lane, kind, permit, now)
  end
  if remaining ~= "-1" or freezes ~= "0" then
    heed(permit, kind, tonumber(remaining), tonumber(reset), tonumber(freezes), about)
  end
  arg = arg + 7
end

local leases, jobs = tonumber(ARGV[arg]), 0
local before = arg + 2 * leases

-- What lies in `batches` of each lease (lane.lua) while all that is under it is what is settled now; and
-- behind these, how many jobs of the lane are dirty.
local fields, whole, there = {}, {}, {}
for n = 1, leases do
  local fence, count = ARGV[arg + 2 * n - 1], ARGV[arg + 2 * n]
  if count == "1" then
    fields[n], whole[n] = fence, ARGV[before + jobs + 1]
  else
    fields[n], whole[n] = fence .. ":n", count ~= "0" and count
  end
  jobs = jobs + tonumber(count)
end
-- The outcome of all, if there is one.
local outcome_of_all = #ARGV == before + jobs + 1 and ARGV[#ARGV]
if jobs > 0 then
  fields[leases + 1] = "dirty"
  there = redis.call("HMGET", lane.key.batches, unpack(fields))
end

local function is_end(outcome)
  return outcome == "ack" or outcome == "bury"
end

-- Whether all that is under these leases ends, and was left alone since it was claimed: then nothing of
-- it has to be read.
local function all_end()
  if there[leases + 1] then
    return false
  end
  for n = 1, leases do
    if whole[n] and there[n] ~= whole[n] then
      return false
    end
  end
  for n = before + jobs + 1, #ARGV do
    if not is_end(ARGV[n]) then
      return false
    end
  end
  return true
end

-- What is written with one command for all.
local lost, done, saved, urgent, asked_for = {}, {}, {}, false, 0
local entering, delayed, stamp = { [0] = {}, {}, {}, {} }, {}, stamp_of(now)

local function back_in_line(id, job, priority)
  job.state, job.priority, job.arrived = READY, priority, now
  local line = entering[priority]
  line[#line + 1] = "0"
  line[#line + 1] = place(id, stamp)
  wanted_at = now
  urgent = urgent or priority <= 1
end

local function delay(id, job, state, delay_us)
  job.state = state
  delayed[#delayed + 1] = digits(now + delay_us)
  delayed[#delayed + 1] = id
  wanted_at = math.min(wanted_at, now + delay_us)
end

-- Word, delay in us, and round of outcomes, by their texts: many jobs have the same.
local read = {}
local function outcome_of(text)
  local outcome = read[text]
  if not outcome then
    local word, delay_us, round = string.match(text, "^(%a+) ?(%d*) ?(%d*)$")
    outcome = { word, tonumber(delay_us), tonumber(round) }
    read[text] = outcome
  end
  return outcome[1], outcome[2], outcome[3]
end

local function come_back(id, job, outcome)
  local word, delay_us, round = outcome_of(outcome)
  local asked = job.dirty
  job.dirty = CLEAN
  if asked ~= CLEAN then
    asked_for = asked_for + 1
  end
  if word == "nack" then
    count_attempt(job)
    job.priority = math.min(job.priority, asked)
    delay(id, job, BACKOFF, delay_us)
  elseif asked ~= CLEAN then
    -- Somebody asked while it was worked on: what was seen may be old. Look again at once.
    job.attempt, job.round = 0, 0
    back_in_line(id, job, asked)
  elseif word == "again" then
    job.attempt, job.round = 0, round
    if delay_us > 0 then
      job.arrived = now
      delay(id, job, DELAYED, delay_us)
    else
      back_in_line(id, job, job.priority)
    end
  else
    delay(id, job, DELAYED, delay_us)
  end
  saved[#saved + 1] = id
  saved[#saved + 1] = packed_job(job)
end

-- What stays under each lease when so many of its jobs have ended, or go back. It ends with its last.
local function let_go(ended, stays)
  local gone, kept, total = {}, {}, 0
  for n = 1, leases do
    if (ended[n] or 0) > 0 then
      local fence = ARGV[arg + 2 * n - 1]
      total = total + ended[n]
      local rest = stays[n] and #stays[n] or 0
      if rest > 0 then
        kept[#kept + 1], kept[#kept + 2] = fence, pack_ids(stays[n])
      end
      if rest > 1 then
        kept[#kept + 1], kept[#kept + 2] = fence .. ":n", digits(-rest)
      elseif rest == 1 then
        gone[#gone + 1] = fence .. ":n"
      else
        gone[#gone + 1] = fence
        if fields[n] ~= fence then
          gone[#gone + 1] = fields[n]
        end
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

-- Takes those of the ids from the `first` to the `last` that are `held` out of it, as they ended.
local function settle_each(held, packed_jobs, first, last)
  local ended = 0
  for at = first, last do
    local id, packed = ARGV[before + at], packed_jobs[at]
    local outcome = outcome_of_all or ARGV[before + jobs + at]
    if not held[id] or not packed then
      lost[#lost + 1] = at
    else
      held[id], ended = nil, ended + 1
      if is_end(outcome) and string.byte(packed, DIRTY_BYTE) == CLEAN then
        done[#done + 1] = id
      else
        come_back(id, job_of(packed), outcome)
      end
    end
  end
  return ended
end

local ended, stays = {}, {}
if jobs > 0 and all_end() then
  redis.call("HDEL", lane.key.jobs, unpack(ARGV, before + 1, before + jobs))
  for n = 1, leases do
    ended[n] = tonumber(ARGV[arg + 2 * n])
  end
elseif jobs > 0 then
  local fences, last = {}, 0
  for n = 1, leases do
    fences[n] = ARGV[arg + 2 * n - 1]
  end
  local under = redis.call("HMGET", lane.key.batches, unpack(fences))
  local packed_jobs = redis.call("HMGET", lane.key.jobs, unpack(ARGV, before + 1, before + jobs))
  for n = 1, leases do
    local ids, held, first = ids_of(under[n]), {}, last + 1
    for _, id in ipairs(ids) do
      held[id] = true
    end
    last = last + tonumber(ARGV[arg + 2 * n])
    ended[n], stays[n] = settle_each(held, packed_jobs, first, last), {}
    for _, id in ipairs(ids) do
      if held[id] then
        table.insert(stays[n], id)
      end
    end
  end
end
let_go(ended, stays)
count_dirty(lane, -asked_for)
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
