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
--       9.. per lane: name, number of its quotas, limits (quota.lua)
-- Returns { now us, earliest time at which a lane may have something to run, us, or -1 for none,
--           names of lanes that are due now, both without lanes of platforms without room,
--           names of lanes with a closed ledger, leases reaped,
--           batches of { lane, priority, fence, job id, job as it lies in `jobs`, ... } }
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

-- The first group waiting at `priority` that its quotas let run: up to one batch, or up to `most` where
-- jobs share no request. Without one, when the first may: `lane.wait` is the least over all that was tried.
local function runnable(lane, priority, spare, most)
  for _, head in ipairs(lane.heads[priority]) do
    local wait = quota_wait(lane, head.kind, spare, now)
    if wait <= 0 then
      local requests = most > 1 and quota_room(lane, head.kind, spare, now, most) or 1
      return batch_of(lane, priority, head, requests)
    end
    lane.wait = math.min(lane.wait, wait)
  end
end

-- A class that is owed its floor is served next. While webhooks or people wait, who would take every
-- token before head-room is full, it does not have to leave any.
local function next_batch(lane, most)
  if only_urgent then
    return runnable(lane, 0, false, most) or runnable(lane, 1, false, most)
  end
  local urgent = lane.heads[0][1] or lane.heads[1][1]
  for priority = 2, 3 do
    if lane.heads[priority][1] and is_owed(lane, priority, FLOOR[priority]) then
      local batch = runnable(lane, priority, not urgent, most)
      if batch then
        return batch
      end
    end
  end
  for priority = 0, 3 do
    local batch = lane.heads[priority][1] and runnable(lane, priority, priority >= 2, most)
    if batch then
      return batch
    end
  end
end

-- Leases the jobs that there are of the batches taken, with one command for all. Nothing is written to
-- the jobs: that they stand in no line says it (job.lua).
local function write_leases(lane)
  local ids, batches, leases, total = {}, {}, {}, 0
  if #lane.taken == 1 then
    ids = lane.taken[1].ids
  else
    for _, batch in ipairs(lane.taken) do
      for _, id in ipairs(batch.ids) do
        ids[#ids + 1] = id
      end
    end
  end
  local there = #ids > 0 and redis.call("HMGET", lane.key.jobs, unpack(ids)) or {}
  local at, ends = 0, digits(now + lease_us)
  for _, batch in ipairs(lane.taken) do
    local held, told, name, count = {}, batch.told, batch.fence, 0
    for _, id in ipairs(batch.ids) do
      at = at + 1
      local job = there[at]
      if job then
        count = count + 1
        held[count], told[2 * count + 2], told[2 * count + 3] = id, id, job
      end
    end
    if count > 0 then
      batches[#batches + 1], batches[#batches + 2] = name, pack_ids(held)
      if count > 1 then
        batches[#batches + 1], batches[#batches + 2] = name .. ":n", digits(count)
      end
      leases[#leases + 1], leases[#leases + 2] = ends, name
      total = total + count
    end
  end
  if total > 0 then
    redis.call("HSET", lane.key.batches, unpack(batches))
    redis.call("ZADD", lane.key.leases, unpack(leases))
    count_leased(lane, total)
  end
  lane.taken, lane.taken_jobs = {}, 0
end

-- One lease for these jobs. Returns what is told of it.
local function lease(lane, priority, ids, fence)
  local told = { lane.name, digits(priority), fence }
  lane.taken[#lane.taken + 1] = { ids = ids, fence = fence, told = told }
  lane.taken_jobs = lane.taken_jobs + #ids
  if lane.taken_jobs >= WRITTEN then
    write_leases(lane)
  end
  return told
end

-- What is told of the next batch of the lane, or of the next, up to `most`, where nothing else that waits
-- in it could come between.
--
-- - `may_follow`: how many are likely to be taken from this lane after the next.
local function lease_next(lane, most, may_follow)
  local batch = next_batch(lane, waits_for_one(lane) and most or 1)
  if not batch then
    return {}
  end
  local fences, told = {}, {}
  for n = 1, batch.alone and #batch.ids or 1 do
    fences[n] = digits(next_fence(now))
    told[n] = lease(lane, batch.priority, batch.alone and { batch.ids[n] } or batch.ids, fences[n])
  end
  take(lane, batch.kind, fences, now, deadline_us)
  take_out_of_line(lane, batch, may_follow)
  for class = 2, 3 do
    if class == batch.priority then
      set_state(lane, CREDIT[class], 0)
    elseif lane.heads[class][1] then
      set_state(lane, CREDIT[class], math.min(100, credit(lane, class) + FLOOR[class]))
    end
  end
  lane.took_urgent = lane.took_urgent or batch.priority <= 1
  return told
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
  load_quotas(lane, ARGV[found.limits], found.key + LANE_KEYS, now, deadline_us)
  load_lines(lane)
  lane.taken, lane.taken_jobs = {}, 0
  if lane.state.closed then
    closed[#closed + 1] = lane.name
  end
  reached[#reached + 1] = lane
  return lane
end

-- One batch a lane and pass, round robin, until a lane is alone.
local batches, running = {}, due
while #running > 0 and #batches < wanted do
  local still = {}
  for _, found in ipairs(running) do
    if #batches < wanted then
      local lane = found.heads and found or reach(found)
      if lane then
        lane.wait = math.huge
        local left = wanted - #batches
        local told = lease_next(lane, #running == 1 and left or 1, math.ceil((left - 1) / #running))
        for _, batch in ipairs(told) do
          batches[#batches + 1] = batch
        end
        if told[1] then
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
