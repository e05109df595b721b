-- Shared: what comes back by itself, since its lease or its delay is over. Behind lane.lua and place.lua.

local BOUND = 100

-- Back in the line of their priority, first by their first arrival. Returns how many, and how many of
-- them were asked for while they were `leased`.
local function back_in_line(lane, ids, leased)
  local saved, entering, count, asked = {}, { [0] = {}, {}, {}, {} }, 0, 0
  for n, packed in ipairs(redis.call("HMGET", lane.key.jobs, unpack(ids))) do
    if packed then
      local job = job_of(packed)
      if leased then
        count_attempt(job)
      end
      asked = asked + (job.dirty == CLEAN and 0 or 1)
      job.state, job.priority, job.dirty = READY, math.min(job.priority, job.dirty), CLEAN
      local line = entering[job.priority]
      line[#line + 1] = "0"
      line[#line + 1] = place(ids[n], stamp_of(job.arrived))
      saved[#saved + 1] = ids[n]
      saved[#saved + 1] = packed_job(job)
      count = count + 1
    end
  end
  if count > 0 then
    redis.call("HSET", lane.key.jobs, unpack(saved))
  end
  enter_lines(lane, entering)
  return count, asked
end

local function drop_lease(lane, fence)
  redis.call("HDEL", lane.key.batches, fence, fence .. ":n")
  redis.call("ZREM", lane.key.leases, fence)
end

-- Leases that ran out: their holders are gone or late. Priority and arrival are kept.
-- Whole batches, until BOUND jobs or more are back. Returns how many.
local function reap(lane, now)
  local reaped = 0
  for _, fence in ipairs(redis.call("ZRANGEBYSCORE", lane.key.leases, "-inf", digits(now), "LIMIT", "0", "100")) do
    if reaped >= BOUND then
      break
    end
    local ids, count, asked = ids_of(redis.call("HGET", lane.key.batches, fence)), 0, 0
    if ids[1] then
      count, asked = back_in_line(lane, ids, true)
    end
    drop_lease(lane, fence)
    count_dirty(lane, -asked)
    count_leased(lane, -count)
    reaped = reaped + count
  end
  return reaped
end

local function wake_delayed(lane, now)
  local ids = redis.call("ZRANGEBYSCORE", lane.key.delayed, "-inf", digits(now), "LIMIT", "0", "100")
  if #ids > 0 then
    redis.call("ZREM", lane.key.delayed, unpack(ids))
    back_in_line(lane, ids, false)
  end
end
