-- Claim batches of jobs: quota, priority, floors, batch, lease and fence in one step. A job that
-- cannot run now is never taken off the queue.
--
-- KEYS  1 shard  2 lanes  3 wake  4 urgent  5.. per lane: its keys (lane.lua), then one ledger for
--       each quota
-- ARGV  1 index and time (clock.lua)
--       2 length of a lease, us
--       3 time from a permit's grant until its request is answered or given up, us
--       4 batches wanted, >= 1
--       5 floor of bulk, percent  6 floor of spot checks, percent
--       7 "urgent" for what webhooks and people wait for and nothing else, or ""
--       8.. per lane: name, number of its quotas, limits as JSON (quota.lua)
-- Returns { now us, earliest time at which a lane may have something to run, us, or -1 for none,
--           names of lanes that are due now, names of lanes with a closed ledger, leases reaped,
--           batches of { lane, priority, fence, { { job id, attempt, round, trace, arrived us }, ... } } }
-- Bounded: at most BOUND leases reaped and delayed jobs woken a lane, READ jobs of a kind read a batch;
-- lanes that are not reached before enough batches are found cost little.

local BOUND, READ, CHUNK, HINTS = 100, 400, 100, 8
local FLOOR = { [2] = tonumber(ARGV[5]), [3] = tonumber(ARGV[6]) }

local now = clock_us(KEYS[1], ARGV[1])
local lease_us, deadline_us, wanted = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local only_urgent = ARGV[7] == "urgent"
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

-- The head's group, up to one batch of it, from the first READ of its kind: places and ids.
local function batch_of(lane, priority, head)
  local members, ids = { head.member }, { head.id }
  local batch, kind, group = kind_limits(lane, head.kind)[BATCH], head.kind, group_of(head.id)
  local from, count = 1, math.min(batch - 1, CHUNK)
  while #ids < batch and from < READ do
    local chunk = of_kind(lane.key.ready[priority], kind, from, count)
    for _, member in ipairs(chunk) do
      local id = id_at(member, kind)
      if #ids < batch and group_of(id) == group then
        members[#members + 1] = member
        ids[#ids + 1] = id
      end
    end
    if #chunk < count then
      break
    end
    from, count = from + count, CHUNK
  end
  return { priority = priority, kind = kind, members = members, ids = ids }
end

-- The first group waiting at `priority` that its quotas let run: up to one batch. Without one, when the first may: `lane.wait` is the least over all that was tried.
local function runnable(lane, priority, spare)
  for _, head in ipairs(heads(lane, priority)) do
    local wait = quota_wait(lane, head.kind, spare, now)
    if wait <= 0 then
      return batch_of(lane, priority, head)
    end
    lane.wait = math.min(lane.wait, wait)
  end
end

-- A class that is owed its floor is served next. While webhooks or people wait, who would take every
-- token before head-room is full, it does not have to leave any.
local function next_batch(lane)
  if only_urgent then
    return runnable(lane, 0, false) or runnable(lane, 1, false)
  end
  local urgent = #heads(lane, 0) + #heads(lane, 1) > 0
  for priority = 2, 3 do
    if is_owed(lane, priority, FLOOR[priority]) then
      local batch = runnable(lane, priority, not urgent)
      if batch then
        return batch
      end
    end
  end
  for priority = 0, 3 do
    local batch = runnable(lane, priority, priority >= 2)
    if batch then
      return batch
    end
  end
end

local function take_out_of_line(lane, batch)
  local line = lane.key.ready[batch.priority]
  redis.call("ZREM", line, unpack(batch.members))
  local rest = {}
  for _, head in ipairs(heads(lane, batch.priority)) do
    if head.kind ~= batch.kind then
      rest[#rest + 1] = head
    end
  end
  local member = of_kind(line, batch.kind, 0, 1)[1]
  if member then
    rest[#rest + 1] = job_at(member)
    table.sort(rest, is_before)
  end
  lane.heads[batch.priority] = rest
end

local function lease_batch(lane)
  local batch = next_batch(lane)
  if not batch then
    return nil
  end
  local fence, ends = next_fence(KEYS[1], now), digits(now + lease_us)
  take(lane, batch.kind, fence, now, deadline_us)
  local packed = redis.call("HMGET", lane.key.jobs, unpack(batch.ids))
  local leases, saved, jobs = {}, {}, {}
  for i, id in ipairs(batch.ids) do
    if packed[i] then
      local job, n = cmsgpack.unpack(packed[i]), #jobs
      job[STATE], job[FENCE], job[ATTEMPT] = LEASED, fence, job[ATTEMPT] + 1
      leases[2 * n + 1], leases[2 * n + 2] = ends, id
      saved[2 * n + 1], saved[2 * n + 2] = id, cmsgpack.pack(job)
      jobs[n + 1] = { id, job[ATTEMPT], job[ROUND], job[TRACE], job[ARRIVED] }
    end
  end
  take_out_of_line(lane, batch)
  if #jobs > 0 then
    redis.call("ZADD", lane.key.leases, unpack(leases))
    redis.call("HSET", lane.key.jobs, unpack(saved))
  end
  for class = 2, 3 do
    if class == batch.priority then
      set_state(lane, "credit" .. class, 0)
    elseif #heads(lane, class) > 0 then
      set_state(lane, "credit" .. class, math.min(100, credit(lane, class) + FLOOR[class]))
    end
  end
  lane.took_urgent = lane.took_urgent or batch.priority <= 1
  return { lane.name, batch.priority, fence, jobs }
end

-- Whether workers that have slots left for urgent work only should come here.
local function tell_urgent(lane)
  if lane.took_urgent then
    if #heads(lane, 0) + #heads(lane, 1) > 0 then
      has_urgent(KEYS[4], lane, now)
    else
      redis.call("ZREM", KEYS[4], lane.name)
    end
  end
end

-- When the lane is next worth a claim: now if work may be left, else when the first waiting job
-- gets its quota, the first delayed one comes due or the first lease ends.
local function reschedule(lane, exhausted)
  if only_urgent then
    -- It stays due: who looks for anything else will find out.
    return
  end
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
local due, key, closed = {}, 5, {}
for arg = 8, #ARGV, 3 do
  local lane = lane_at(ARGV[arg], key)
  lane.first_ledger, lane.limits_arg = key + LANE_KEYS, arg + 2
  key = lane.first_ledger + tonumber(ARGV[arg + 1])
  lane.score = tonumber(redis.call("ZSCORE", KEYS[2], lane.name) or math.huge)
  if lane.score <= now then
    due[#due + 1] = lane
  end
end
table.sort(due, function(a, b)
  if a.score ~= b.score then
    return a.score < b.score
  end
  return a.name < b.name
end)

local running = {}
for _, lane in ipairs(due) do
  load_state(lane, now)
  if lane.state.paused or tonumber(lane.state.frozen or 0) > now then
    -- Nothing may run, so nothing is taken from anybody either.
    reschedule(lane, false)
  else
    reap(lane)
    wake_delayed(lane)
    running[#running + 1] = lane
  end
end

-- The lane's first turn.
local function reach(lane)
  load_quotas(lane, cjson.decode(ARGV[lane.limits_arg]), lane.first_ledger, now, deadline_us)
  lane.heads = {}
  if lane.state.closed then
    closed[#closed + 1] = lane.name
  end
  return lane
end

-- One batch a lane and pass: round robin.
local batches, reached = {}, {}
while #running > 0 and #batches < wanted do
  local still = {}
  for _, lane in ipairs(running) do
    if #batches < wanted then
      if not lane.heads then
        reached[#reached + 1] = reach(lane)
      end
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
for _, lane in ipairs(reached) do
  reschedule(lane, lane.exhausted)
  tell_urgent(lane)
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
