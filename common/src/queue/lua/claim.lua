-- Claim batches of jobs: quota, priority, floors, batch, lease and fence in one step. A job that
-- cannot run now is never taken off the queue.
--
-- KEYS  1 shard  2 lanes  3 wake  4.. per lane: its keys (lane.lua), then one ledger for each quota
-- ARGV  1 index and time (clock.lua)
--       2 length of a lease, us
--       3 time from a permit's grant until its request is answered or given up, us
--       4 batches wanted, >= 1
--       5 floor of bulk, percent  6 floor of spot checks, percent
--       7.. per lane: name, number of its quotas, limits as JSON (quota.lua)
-- Returns { now us, earliest time at which a lane may have something to run, us, or -1 for none,
--           names of lanes that are due now, names of lanes with a closed ledger, leases reaped,
--           batches of { lane, priority, fence, { { job id, attempt, round, trace, arrived us }, ... } } }
-- Bounded: at most BOUND leases reaped and delayed jobs woken a lane, READ jobs of a kind read a batch.

local BOUND, READ, CHUNK, HINTS = 100, 400, 100, 8
local FLOOR = { [2] = tonumber(ARGV[5]), [3] = tonumber(ARGV[6]) }

local now = clock_us(KEYS[1], ARGV[1])
local lease_us, deadline_us, wanted = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local reaped = 0

-- Leases that ran out: their holders are gone or late. Priority and arrival are kept.
local function reap(lane)
  for _, id in ipairs(redis.call("ZRANGEBYSCORE", lane.key.leases, "-inf", digits(now), "LIMIT", 0, BOUND)) do
    redis.call("ZREM", lane.key.leases, id)
    local job = load_job(lane.key.jobs, id)
    if job then
      if job[DIRTY] >= 0 then
        job[PRIORITY], job[DIRTY] = math.min(job[PRIORITY], job[DIRTY]), -1
      end
      job[STATE] = READY
      enter_line(lane, id, job)
      save_job(lane.key.jobs, id, job)
      reaped = reaped + 1
    end
  end
end

local function wake_delayed(lane)
  for _, id in ipairs(redis.call("ZRANGEBYSCORE", lane.key.delayed, "-inf", digits(now), "LIMIT", 0, BOUND)) do
    redis.call("ZREM", lane.key.delayed, id)
    local job = load_job(lane.key.jobs, id)
    if job then
      job[STATE] = READY
      enter_line(lane, id, job)
      save_job(lane.key.jobs, id, job)
    end
  end
end

-- The first of each kind at `priority`. Kept while batches are taken.
local function heads(lane, priority)
  lane.heads[priority] = lane.heads[priority] or heads_of(lane.key.ready[priority])
  return lane.heads[priority]
end

-- The head's group, up to one batch of it, from the first READ of its kind.
local function batch_of(lane, priority, head)
  local members = { head.member }
  local batch, group = kind_limits(lane, head.kind)[BATCH], group_of(head.id)
  local from, count = 1, math.min(batch - 1, CHUNK)
  while #members < batch and from < READ do
    local chunk = of_kind(lane.key.ready[priority], head.kind, from, count)
    for _, member in ipairs(chunk) do
      if #members < batch and group_of(job_at(member).id) == group then
        members[#members + 1] = member
      end
    end
    if #chunk < count then
      break
    end
    from, count = from + count, CHUNK
  end
  return members
end

-- The first group waiting at `priority` that its quotas let run: up to one batch, and its kind.
-- Without one, when the first may: `lane.wait` is the least over all that was tried.
local function runnable(lane, priority, spare)
  for _, head in ipairs(heads(lane, priority)) do
    local wait = quota_wait(lane, head.kind, spare, now)
    if wait <= 0 then
      return batch_of(lane, priority, head), head.kind
    end
    lane.wait = math.min(lane.wait, wait)
  end
end

-- A class that is owed its floor is served next. While webhooks or people wait, who would take every
-- token before head-room is full, it does not have to leave any.
local function next_batch(lane)
  local urgent = #heads(lane, 0) + #heads(lane, 1) > 0
  for priority = 2, 3 do
    if is_owed(lane, priority, FLOOR[priority]) then
      local members, kind = runnable(lane, priority, not urgent)
      if members then
        return members, kind, priority
      end
    end
  end
  for priority = 0, 3 do
    local members, kind = runnable(lane, priority, priority >= 2)
    if members then
      return members, kind, priority
    end
  end
end

local function take_out_of_line(lane, priority, kind, members)
  local line = lane.key.ready[priority]
  redis.call("ZREM", line, unpack(members))
  local rest = {}
  for _, head in ipairs(heads(lane, priority)) do
    if head.kind ~= kind then
      rest[#rest + 1] = head
    end
  end
  local member = of_kind(line, kind, 0, 1)[1]
  if member then
    rest[#rest + 1] = job_at(member)
    table.sort(rest, is_before)
  end
  lane.heads[priority] = rest
end

local function lease_batch(lane)
  local members, kind, priority = next_batch(lane)
  if not members then
    return nil
  end
  local fence = next_fence(KEYS[1], now)
  take(lane, kind, fence, now, deadline_us)
  local ids = {}
  for i, member in ipairs(members) do
    ids[i] = job_at(member).id
  end
  local packed = redis.call("HMGET", lane.key.jobs, unpack(ids))
  local leases, saved, jobs = {}, {}, {}
  for i, id in ipairs(ids) do
    if packed[i] then
      local job = cmsgpack.unpack(packed[i])
      job[STATE], job[FENCE], job[ATTEMPT] = LEASED, fence, job[ATTEMPT] + 1
      leases[#leases + 1] = now + lease_us
      leases[#leases + 1] = id
      saved[#saved + 1] = id
      saved[#saved + 1] = cmsgpack.pack(job)
      jobs[#jobs + 1] = { id, job[ATTEMPT], job[ROUND], job[TRACE], job[ARRIVED] }
    end
  end
  take_out_of_line(lane, priority, kind, members)
  if #jobs > 0 then
    redis.call("ZADD", lane.key.leases, unpack(leases))
    redis.call("HSET", lane.key.jobs, unpack(saved))
  end
  for class = 2, 3 do
    if class == priority then
      set_state(lane, "credit" .. class, 0)
    elseif #heads(lane, class) > 0 then
      set_state(lane, "credit" .. class, math.min(100, credit(lane, class) + FLOOR[class]))
    end
  end
  return { lane.name, priority, fence, jobs }
end

-- When the lane is next worth a claim: now if work may be left, else when the first waiting job
-- gets its quota, the first delayed one comes due or the first lease ends.
local function reschedule(lane, exhausted)
  local at = exhausted and now + lane.wait or now
  for _, key in ipairs({ lane.key.delayed, lane.key.leases }) do
    local head = redis.call("ZRANGE", key, 0, 0, "WITHSCORES")
    if head[2] then
      at = math.min(at, tonumber(head[2]))
    end
  end
  -- Whoever was to open it may have failed.
  if lane.state.closed and at < math.huge then
    at = math.min(at, now + 1000000)
  end
  local frozen = tonumber(lane.state.frozen or 0)
  if lane.state.paused or at == math.huge then
    redis.call("ZREM", KEYS[2], lane.name)
  else
    redis.call("ZADD", KEYS[2], math.max(at, frozen, now), lane.name)
  end
end

-- The lanes that are due, the longest unserved first.
local due, key, closed = {}, 4, {}
for arg = 7, #ARGV, 3 do
  local lane = lane_at(ARGV[arg], key)
  local first_ledger = key + LANE_KEYS
  key = first_ledger + tonumber(ARGV[arg + 1])
  local score = tonumber(redis.call("ZSCORE", KEYS[2], lane.name) or math.huge)
  if score <= now then
    lane.score, lane.wait, lane.heads = score, math.huge, {}
    load_quotas(lane, cjson.decode(ARGV[arg + 2]), first_ledger, now, deadline_us)
    due[#due + 1] = lane
    if lane.state.closed then
      closed[#closed + 1] = lane.name
    end
  end
end
table.sort(due, function(a, b)
  if a.score ~= b.score then
    return a.score < b.score
  end
  return a.name < b.name
end)

local open = {}
for _, lane in ipairs(due) do
  if lane.state.paused or tonumber(lane.state.frozen or 0) > now then
    -- Nothing may run, so nothing is taken from anybody either.
    reschedule(lane, false)
  else
    reap(lane)
    wake_delayed(lane)
    open[#open + 1] = lane
  end
end

-- One batch a lane and pass: round robin.
local batches = {}
local running = open
while #running > 0 and #batches < wanted do
  local still = {}
  for _, lane in ipairs(running) do
    if #batches < wanted then
      lane.wait = math.huge
      local batch = lease_batch(lane)
      if batch then
        batches[#batches + 1] = batch
        still[#still + 1] = lane
      else
        lane.exhausted = true
      end
    end
  end
  running = still
end
for _, lane in ipairs(open) do
  reschedule(lane, lane.exhausted)
end

local hints = redis.call("ZRANGEBYSCORE", KEYS[2], "-inf", digits(now), "LIMIT", 0, HINTS)
local next_at = -1
local head = redis.call("ZRANGE", KEYS[2], 0, 0, "WITHSCORES")
if head[2] then
  next_at = tonumber(head[2])
end
if hints[1] and redis.call("LLEN", KEYS[3]) == 0 then
  redis.call("LPUSH", KEYS[3], hints[1])
end
return { now, next_at, hints, closed, reaped, batches }
