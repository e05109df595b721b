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
--       8 platforms that the caller has no room for, separated by spaces: their lanes are not told
--       9.. per lane: name, number of its quotas, limits as JSON (quota.lua)
-- Returns { now us, earliest time at which a lane may have something to run, us, or -1 for none,
--           names of lanes that are due now, both without lanes of platforms without room,
--           names of lanes with a closed ledger, leases reaped,
--           batches of { lane, priority, fence, { job id, job as it lies in `jobs`, ... } } }
-- Bounded: BOUND jobs are reaped and woken a lane (reap.lua), READ jobs of a kind are read a batch
-- (batch.lua), LANES lanes of platforms without room are passed over (ahead.lua); lanes that are not
-- reached before enough batches are found are not read.

-- So many jobs are taken before their leases are written.
local WRITTEN = 200
local FLOOR = { [2] = tonumber(ARGV[5]), [3] = tonumber(ARGV[6]) }

local now = clock_us(KEYS[1], ARGV[1])
local lease_us, deadline_us, wanted = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local only_urgent = ARGV[7] == "urgent"
local reaped = 0

-- The first group waiting at `priority` that its quotas let run: up to one batch. Without one, when the
-- first may: `lane.wait` is the least over all that was tried.
local function runnable(lane, priority, spare)
  for _, head in ipairs(lane.heads[priority]) do
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
  local urgent = lane.heads[0][1] or lane.heads[1][1]
  for priority = 2, 3 do
    if lane.heads[priority][1] and is_owed(lane, priority, FLOOR[priority]) then
      local batch = runnable(lane, priority, not urgent)
      if batch then
        return batch
      end
    end
  end
  for priority = 0, 3 do
    local batch = lane.heads[priority][1] and runnable(lane, priority, priority >= 2)
    if batch then
      return batch
    end
  end
end

-- Leases the jobs that there are of the batches taken, with one command for all: they lie in `jobs`
-- under their fence and attempt. The workers get to know them as they lie there.
local function write_leases(lane)
  local ids, jobs, batches, leases = {}, {}, {}, {}
  for _, batch in ipairs(lane.taken) do
    for _, id in ipairs(batch.ids) do
      ids[#ids + 1] = id
    end
  end
  local there = #ids > 0 and redis.call("HMGET", lane.key.jobs, unpack(ids)) or {}
  local at, ends, total = 0, digits(now + lease_us), 0
  for _, batch in ipairs(lane.taken) do
    local mark, heads, held, told = leased_by(batch.fence), {}, {}, batch.told
    for _, id in ipairs(batch.ids) do
      at = at + 1
      local packed = there[at]
      if packed then
        local attempt = math.min(attempt_in(packed) + 1, MOST_ATTEMPTS)
        heads[attempt] = heads[attempt] or mark .. string.char(attempt)
        packed = heads[attempt] .. string.sub(packed, LEASE_BYTES + 1)
        held[#held + 1] = id
        jobs[#jobs + 1], told[#told + 1] = id, id
        jobs[#jobs + 1], told[#told + 1] = packed, packed
      end
    end
    if #held > 0 then
      local name = digits(batch.fence)
      batches[#batches + 1], batches[#batches + 2] = name, cmsgpack.pack(held)
      batches[#batches + 1], batches[#batches + 2] = name .. ":n", digits(#held)
      leases[#leases + 1], leases[#leases + 2] = ends, name
      total = total + #held
    end
  end
  if total > 0 then
    redis.call("HSET", lane.key.jobs, unpack(jobs))
    redis.call("HSET", lane.key.batches, unpack(batches))
    redis.call("ZADD", lane.key.leases, unpack(leases))
    count_leased(lane, total)
  end
  lane.taken, lane.taken_jobs = {}, 0
end

-- - `may_follow`: how many batches are likely to be taken from this lane after this one.
local function lease_batch(lane, may_follow)
  local batch = next_batch(lane)
  if not batch then
    return nil
  end
  batch.fence = next_fence(now)
  take(lane, batch.kind, batch.fence, now, deadline_us)
  take_out_of_line(lane, batch, may_follow)
  lane.taken[#lane.taken + 1] = batch
  lane.taken_jobs = lane.taken_jobs + #batch.ids
  if lane.taken_jobs >= WRITTEN then
    write_leases(lane)
  end
  for class = 2, 3 do
    if class == batch.priority then
      set_state(lane, CREDIT[class], 0)
    elseif lane.heads[class][1] then
      set_state(lane, CREDIT[class], math.min(100, credit(lane, class) + FLOOR[class]))
    end
  end
  lane.took_urgent = lane.took_urgent or batch.priority <= 1
  return { lane.name, batch.priority, batch.fence, batch.told }
end

-- Whether workers that have slots left for urgent work only should come here.
local function tell_urgent(lane)
  if lane.took_urgent then
    if lane.heads[0][1] or lane.heads[1][1] then
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
  if at > now then
    for _, key in ipairs({ lane.key.delayed, lane.key.leases }) do
      local head = redis.call("ZRANGE", key, "0", "0", "WITHSCORES")
      if head[2] then
        at = math.min(at, tonumber(head[2]))
      end
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
    redis.call("ZADD", KEYS[2], digits(math.max(at, frozen, now)), lane.name)
  end
end

-- The lanes that are due, the longest unserved first.
local due, key, closed, names = {}, 5, {}, {}
for arg = 9, #ARGV, 3 do
  names[#names + 1] = ARGV[arg]
end
local scores = #names > 0 and redis.call("ZMSCORE", KEYS[2], unpack(names)) or {}
for n, name in ipairs(names) do
  local ledgers, score = tonumber(ARGV[3 * n + 7]), tonumber(scores[n] or math.huge)
  if score <= now then
    due[#due + 1] = { name = name, score = score, key = key, limits = 3 * n + 8 }
  end
  key = key + LANE_KEYS + ledgers
end
table.sort(due, function(a, b)
  if a.score ~= b.score then
    return a.score < b.score
  end
  return a.name < b.name
end)

-- The lane's first turn. Nothing when nothing may run there: then nothing is taken from anybody either.
local reached = {}
local function reach(found)
  local lane = lane_at(found.name, found.key)
  load_state(lane, now)
  if lane.state.paused or tonumber(lane.state.frozen or 0) > now then
    reschedule(lane, false)
    return nil
  end
  reaped = reaped + reap(lane, now)
  wake_delayed(lane, now)
  load_quotas(lane, cjson.decode(ARGV[found.limits]), found.key + LANE_KEYS, now, deadline_us)
  load_lines(lane)
  lane.taken, lane.taken_jobs = {}, 0
  if lane.state.closed then
    closed[#closed + 1] = lane.name
  end
  reached[#reached + 1] = lane
  return lane
end

-- One batch a lane and pass: round robin.
local batches, running = {}, due
while #running > 0 and #batches < wanted do
  local still = {}
  for _, found in ipairs(running) do
    if #batches < wanted then
      local lane = found.heads and found or reach(found)
      if lane then
        lane.wait = math.huge
        local batch = lease_batch(lane, math.ceil((wanted - #batches - 1) / #running))
        if batch then
          batches[#batches + 1] = batch
          still[#still + 1] = lane
        else
          lane.exhausted = true
        end
      end
    end
  end
  running = still
end
if #batches > 0 then
  save_fence(KEYS[1])
end
for _, lane in ipairs(reached) do
  write_leases(lane)
  for priority = 0, 3 do
    write_leaving(lane, priority)
  end
  save_taken(lane)
  reschedule(lane, lane.exhausted)
  tell_urgent(lane)
end

local hints, next_at
if ARGV[8] == "" then
  hints, next_at = look_ahead(KEYS[2], now)
else
  local without = {}
  for platform in string.gmatch(ARGV[8], "%S+") do
    without[platform] = true
  end
  hints, next_at = look_past(KEYS[2], without, now)
end
if hints[1] and redis.call("LLEN", KEYS[3]) == 0 then
  redis.call("LPUSH", KEYS[3], hints[1])
end
return { now, next_at, hints, closed, reaped, batches }
