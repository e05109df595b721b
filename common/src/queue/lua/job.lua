-- Shared: a job as it lies in the hash `jobs`: LAYOUT, and then the trace context of whoever asked.
--
--   bytes  1..7   FENCE    of the last lease
--          8      STATE
--          9      ATTEMPT
--          10..16 ARRIVED  when it got its priority, us
--          17     DIRTY    the most urgent priority that asked for it while it was leased, or CLEAN
--          18     ROUND    which look of a confirming series this is
--          19     PRIORITY
--
-- What a claim changes stands in front, so that it writes the same few bytes before every job of a
-- batch; what a new job is asked with stands at the end, as the caller gives it. The worker reads all
-- of it (wire.rs).

local READY, LEASED, DELAYED, BACKOFF = 0, 1, 2, 3
local CLEAN = 255
local LAYOUT = ">I7I1I1I7I1I1I1"
-- Without its priority.
local NEW_LAYOUT = ">I7I1I1I7I1I1"
local LEASE_BYTES, DIRTY_BYTE, HEAD_BYTES, MOST_ATTEMPTS = 9, 17, 19, 255

-- Places in the table.
local FENCE, STATE, ATTEMPT, ARRIVED, DIRTY, ROUND, PRIORITY, TRACE = 1, 2, 3, 4, 5, 6, 7, 8

local function job_of(packed)
  local job = { struct.unpack(LAYOUT, packed) }
  job[TRACE] = string.sub(packed, HEAD_BYTES + 1)
  return job
end

local function packed_job(job)
  return struct.pack(LAYOUT, unpack(job, 1, PRIORITY)) .. job[TRACE]
end

local function load_job(jobs, id)
  local packed = redis.call("HGET", jobs, id)
  return packed and job_of(packed)
end

-- The first bytes of a job that is leased with this fence, up to its attempt.
local function leased_by(fence)
  return struct.pack(">I7I1", fence, LEASED)
end

local function attempt_in(packed)
  return string.byte(packed, LEASE_BYTES)
end

local function is_held(packed, mark)
  return packed and string.find(packed, mark, 1, true) == 1
end

-- What jobs that can share a request have in common: all before the last slash, or the kind.
local function kind_of(id)
  local colon = string.find(id, ":", 1, true)
  return colon and string.sub(id, 1, colon - 1) or id
end

local function group_of(id)
  return string.find(id, "/", 1, true) and string.match(id, "^(.*)/") or kind_of(id)
end
