-- Explain why a job waits, and until when at least. Changes no job.
--
-- KEYS  1 shard  2.. the lane (lane.lua), then one ledger for each quota
-- ARGV  1 index and time (clock.lua)
--       2 limits (quota.lua)
--       3 time from a permit's grant until its request is answered or given up, us
--       4 job id  5 floor of bulk, percent  6 floor of spot checks, percent
-- Returns { now us,
--           the job: { state (job.lua), priority, end of its lease or of its delay in us or 0, attempt,
--                      round, fence, dirty, arrived us }, or {} when there is none,
--           jobs before it in its line, ready jobs at higher priorities,
--           earliest time at which it can run, us, or -1 while the lane is paused,
--           1 if that is exact as long as nothing else happens, 0 if it may be later,
--           what holds it: { { what, quota or "", until us or 0 }, ... } }
-- Bounded: at most READ jobs of its kind are read, and of LEASES leases which jobs are under them.

local READ, LEASES, CHUNK = 1000, 1000, 100

local now = clock_us(KEYS[1], ARGV[1])
local lane = lane_at("", 2)
load_quotas(lane, ARGV[2], 2 + LANE_KEYS, now, tonumber(ARGV[3]))
local id, kind = ARGV[4], kind_of(ARGV[4])
local limits = kind_limits(lane, kind)
local packed = redis.call("HGET", lane.key.jobs, id)
local job = packed and job_of(packed)
if job and find_leased(lane, { id }, { packed })[1] then
  job.state = LEASED
end
local ready = job and job.state == READY
local mine = ready and job_at(place(id, stamp_of(job.arrived)))

local function owed(priority)
  return priority >= 2 and is_owed(lane, priority, tonumber(ARGV[3 + priority]))
end

local lines = {}
for priority = 0, 3 do
  lines[priority] = heads_of(lane.key.ready[priority])
end

local function leaves_headroom(priority)
  return priority >= 2 and not (owed(priority) and #lines[0] + #lines[1] > 0)
end

-- Requests of its kind that go out before its own, at least; and whether the very next one of its
-- kind has it.
local function requests_before(line)
  local batch, group = limits.batch, group_of(id)
  local before = redis.call("ZLEXCOUNT", line, "[" .. kind .. ":", "(" .. mine.member)
  if batch == 1 or before == 0 then
    return before, before == 0
  end
  local same, heads_group = 0, nil
  for from = 0, math.min(before, READ) - 1, CHUNK do
    for _, member in ipairs(of_kind(line, kind, from, math.min(CHUNK, before - from))) do
      local its_group = group_of(job_at(member).id)
      heads_group = heads_group or its_group
      same = same + (its_group == group and 1 or 0)
    end
  end
  -- A claim reads no further than this to fill a batch (claim.lua).
  return math.floor(same / batch), same < batch and heads_group == group and before < 400
end

local function jobs_before(line, heads)
  local before = 0
  for _, head in ipairs(heads) do
    local last = "(" .. mine.member
    if head.kind ~= kind then
      local ties = sorts_before(head.id, id) and 1 or 0
      last = "(" .. head.kind .. ":" .. stamp_of(mine.arrived + ties)
    end
    before = before + redis.call("ZLEXCOUNT", line, "[" .. head.kind .. ":", last)
  end
  return before
end

local frozen = tonumber(lane.state.frozen or 0)
local kind_frozen = tonumber(lane.state["f:" .. kind] or 0)

-- Whether a class is tried before another by a claim.
local function is_tried_before(priority, other)
  if owed(priority) ~= owed(other) then
    return owed(priority)
  end
  return priority < other
end

-- Whether another that is ready runs before `at`, or at it and is tried first.
local function overtaken(at)
  for priority = 0, 3 do
    for _, head in ipairs(lines[priority]) do
      local same_line = priority == job.priority
      if not same_line or head.kind ~= kind then
        local wait = quota_wait(lane, head.kind, leaves_headroom(priority), now)
        local runs_at = math.max(now + wait, frozen)
        local first
        if same_line then
          first = is_before(head, mine)
        else
          first = is_tried_before(priority, job.priority)
        end
        if runs_at < at or (runs_at == at and first) then
          return true
        end
      end
    end
  end
  return false
end

-- The earliest time at which `requests` of its kind can have gone out.
local function earliest_at(requests, spare)
  local at = math.max(now, frozen, kind_frozen)
  for _, i in ipairs(limits.draws_on) do
    at = math.max(
      at,
      now + bucket_wait(lane, i, requests * limits.cost, spare, now),
      now + ledger_wait(lane, i, requests * limits.cost, now),
      now + closed_wait(lane, i, now)
    )
  end
  return at
end

local holds = {}
local function hold(what, quota, until_us)
  if until_us == 0 or until_us > now then
    holds[#holds + 1] = { what, quota, until_us }
  end
end
if lane.state.paused then
  hold("paused", "", 0)
end
hold("lane-frozen", "", math.max(frozen, 1))
hold("kind-frozen", "", math.max(kind_frozen, 1))
for _, i in ipairs(limits.draws_on) do
  local name = lane.quotas[i].name
  local spare = job and leaves_headroom(job.priority)
  local bucket = bucket_wait(lane, i, limits.cost, spare, now)
  local whole = bucket_wait(lane, i, limits.cost, false, now)
  hold("ledger-closed", name, now + closed_wait(lane, i, now))
  hold("ledger-full", name, now + ledger_wait(lane, i, limits.cost, now))
  hold(whole > 0 and "bucket-empty" or "head-room", name, now + bucket)
end

-- The fence under which the job is leased, the end of that lease, and how many jobs are under it.
-- After LEASES others: 0, and not before the end of the last of these.
local function lease_of_job()
  local ends = 0
  for from = 0, LEASES - 1, CHUNK do
    local page = redis.call("ZRANGE", lane.key.leases, digits(from), digits(from + CHUNK - 1), "WITHSCORES")
    for n = 1, #page, 2 do
      local ids = ids_of(redis.call("HGET", lane.key.batches, page[n]))
      for _, its_id in ipairs(ids) do
        if its_id == id then
          return tonumber(page[n]), tonumber(page[n + 1]), #ids
        end
      end
      ends = tonumber(page[n + 1])
    end
    if #page < 2 * CHUNK then
      break
    end
  end
  return 0, ends, 1
end

-- When the job itself comes back: its delay or the lease of its batch ends.
local fence, back_at, together = 0, 0, 1
if job and job.state == LEASED then
  fence, back_at, together = lease_of_job()
  -- The one that is under way.
  count_attempt(job)
elseif job and not ready then
  back_at = tonumber(redis.call("ZSCORE", lane.key.delayed, id) or 0)
end

-- What else comes back by itself until then may go before it.
local function comes_back(at)
  local count = redis.call("ZCOUNT", lane.key.delayed, "-inf", digits(at))
    + redis.call("ZCOUNT", lane.key.leases, "-inf", digits(at))
  if not ready and back_at <= at and together == 1 then
    count = count - 1
  end
  return count > 0
end

local about, ahead, urgent, at, exact = {}, 0, 0, earliest_at(1, false), false
if job then
  local dirty = job.dirty == CLEAN and -1 or job.dirty
  about = {
    job.state, job.priority, back_at, job.attempt, job.round, fence, dirty, job.arrived,
  }
  local waiting = 0
  for priority = 0, 3 do
    waiting = waiting + #lines[priority]
    if priority < job.priority then
      urgent = urgent + redis.call("ZCARD", lane.key.ready[priority])
    end
  end
  local requests, next_of_kind = 0, true
  if ready then
    local line = lane.key.ready[job.priority]
    ahead = jobs_before(line, lines[job.priority])
    requests, next_of_kind = requests_before(line)
  end
  -- As the very next one; then nothing before it changes what its floor is owed.
  local as_next = math.max(earliest_at(1, leaves_headroom(job.priority)), back_at)
  exact = next_of_kind and (ready and not overtaken(as_next) or not ready and waiting == 0)
    and not comes_back(as_next)
  at = exact and as_next or math.max(earliest_at(requests + 1, false), back_at)
end
if lane.state.paused then
  at = -1
end
save_state(lane)
return { now, about, ahead, urgent, at, exact and not lane.state.paused and 1 or 0, holds }
