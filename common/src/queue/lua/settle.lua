-- Settle leases, and the permits that were used under them.
--
-- KEYS  1 shard  2 lanes  3 wake  4 urgent  5.. the lane (lane.lua), then one ledger for each quota
-- ARGV  1 index and time (clock.lua)
--       2 lane  3 limits as JSON (quota.lua)
--       4 time from a permit's grant until its request is answered or given up, us
--       5 number of permits
--       6.. per permit: id, kind, 1 if a request was sent under it or 0, remaining as the platform
--           said or -1, until reset in us, freeze in us or 0, what both are about: "lane" or "kind"
--       then per job: id, fence, outcome, delay in us, round
--         outcome  ack    done
--                  again  done, and look once more after the delay, as round `round`
--                  nack   failed: try again after the delay, which nothing shortens
--                  defer  not now: try again after the delay; this was no attempt
--                  bury   given up; the dead letter is in Postgres already
-- Returns the ids whose lease was lost: for them nothing was done.

local now = clock_us(KEYS[1], ARGV[1])
local lane = lane_at(ARGV[2], 5)
load_quotas(lane, cjson.decode(ARGV[3]), 5 + LANE_KEYS, now, tonumber(ARGV[4]))

-- A lane that this Redis sees for the first time is opened by who claims it, jobs or not.
local wanted_at = lane.state.closed and now or math.huge
local arg = 6
for _ = 1, tonumber(ARGV[5]) do
  local permit, kind, sent = tonumber(ARGV[arg]), ARGV[arg + 1], ARGV[arg + 2] == "1"
  local remaining, reset_us, freeze_us = tonumber(ARGV[arg + 3]), tonumber(ARGV[arg + 4]), tonumber(ARGV[arg + 5])
  local free_at = now
  if sent then
    free_at = answered(lane, kind, permit, now)
  else
    give_back(lane, kind, permit, now)
  end
  -- Slots may now free earlier than the lane was told; it must not sleep past that.
  if redis.call("ZSCORE", KEYS[2], lane.name) then
    wanted_at = math.min(wanted_at, free_at)
  end
  if ARGV[arg + 6] == "kind" then
    freeze_kind(lane, kind, now + (remaining == 0 and math.max(freeze_us, reset_us) or freeze_us), now)
  else
    if remaining >= 0 then
      believe(lane, kind, remaining, reset_us, ARGV[arg], now)
    end
    freeze(lane, now + freeze_us, now)
  end
  arg = arg + 7
end

local function make_ready(id, job, priority)
  job[STATE], job[PRIORITY], job[ARRIVED] = READY, priority, now
  enter_line(lane, id, job)
  wanted_at = now
  if priority <= 1 then
    has_urgent(KEYS[4], lane, now)
  end
end

local function delay(id, job, state, delay_us)
  job[STATE] = state
  redis.call("ZADD", lane.key.delayed, now + delay_us, id)
  wanted_at = math.min(wanted_at, now + delay_us)
end

local ids = {}
for i = arg, #ARGV, 5 do
  ids[#ids + 1] = ARGV[i]
end
local packed = #ids > 0 and redis.call("HMGET", lane.key.jobs, unpack(ids)) or {}

-- `seen`: an id that stands twice has no lease any more the second time.
local lost, seen, ended, done = {}, {}, {}, {}
for n, id in ipairs(ids) do
  local i = arg + 5 * (n - 1)
  local fence, outcome = tonumber(ARGV[i + 1]), ARGV[i + 2]
  local delay_us, round = tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])
  local job = packed[n] and cmsgpack.unpack(packed[n])
  if seen[id] or not job or job[STATE] ~= LEASED or job[FENCE] ~= fence then
    lost[#lost + 1] = id
  else
    seen[id] = true
    ended[#ended + 1] = id
    local dirty = job[DIRTY]
    job[DIRTY] = -1
    if outcome == "nack" then
      if dirty >= 0 then
        job[PRIORITY] = math.min(job[PRIORITY], dirty)
      end
      delay(id, job, BACKOFF, delay_us)
      save_job(lane.key.jobs, id, job)
    elseif dirty >= 0 then
      -- Somebody asked while it was worked on: what was seen may be old. Look again at once.
      job[ATTEMPT], job[ROUND] = 0, 0
      make_ready(id, job, dirty)
      save_job(lane.key.jobs, id, job)
    elseif outcome == "again" then
      job[ATTEMPT], job[ROUND] = 0, round
      if delay_us > 0 then
        job[ARRIVED] = now
        delay(id, job, DELAYED, delay_us)
      else
        make_ready(id, job, job[PRIORITY])
      end
      save_job(lane.key.jobs, id, job)
    elseif outcome == "defer" then
      job[ATTEMPT] = job[ATTEMPT] - 1
      delay(id, job, DELAYED, delay_us)
      save_job(lane.key.jobs, id, job)
    else
      done[#done + 1] = id
    end
  end
end
if #ended > 0 then
  redis.call("ZREM", lane.key.leases, unpack(ended))
end
if #done > 0 then
  redis.call("HDEL", lane.key.jobs, unpack(done))
end

if wanted_at < math.huge then
  wants_claim(KEYS[2], KEYS[3], lane, wanted_at, now)
end
return lost
