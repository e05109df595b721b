-- Shared: a job as it lies in the hash `jobs`: LAYOUT, and then the trace context of whoever asked.
--
--   bytes  1       state
--          2       attempt  how many have ended without success
--          3..9    arrived  when it got its priority, us
--          10      dirty    the most urgent priority that asked for it while it was leased, or CLEAN
--          11      round    which look of a confirming series this is
--          12      priority
--
-- A claim writes nothing here: a job that is READY and stands in no line is LEASED, by the batch whose
-- ids it is among (lane.lua). What a new job is asked with stands at the end, as the caller gives it. The
-- worker reads all of it (wire.rs).

local READY, LEASED, DELAYED, BACKOFF = 0, 1, 2, 3
local CLEAN = 255
local LAYOUT = ">I1I1I7I1I1I1"
-- Without its priority.
local NEW_LAYOUT = ">I1I1I7I1I1"
local DIRTY_BYTE, PRIORITY_BYTE, HEAD_BYTES, MOST_ATTEMPTS = 10, 12, 12, 255

local function job_of(packed)
  local state, attempt, arrived, dirty, round, priority = struct.unpack(LAYOUT, packed)
  return {
    state = state, attempt = attempt, arrived = arrived, dirty = dirty, round = round, priority = priority,
    trace = string.sub(packed, HEAD_BYTES + 1),
  }
end

local function packed_job(job)
  return struct.pack(
    LAYOUT, job.state, job.attempt, job.arrived, job.dirty, job.round, job.priority
  ) .. job.trace
end

-- When it got its priority, as it stands in a place (place.lua).
local function stamp_in(packed)
  return string.sub(packed, 3, 9)
end

-- The ids under a lease, as they lie in `batches`: several by MessagePack, whose lists begin with a byte
-- above 127; one as it is.
local function pack_ids(ids)
  if #ids == 1 and (string.byte(ids[1]) or 128) < 128 then
    return ids[1]
  end
  return cmsgpack.pack(ids)
end

local function ids_of(packed)
  if not packed then
    return {}
  end
  return string.byte(packed) > 127 and cmsgpack.unpack(packed) or { packed }
end

-- An attempt has ended without success.
local function count_attempt(job)
  job.attempt = math.min(job.attempt + 1, MOST_ATTEMPTS)
end

-- What jobs that can share a request have in common: all before the last slash, or the kind.
local function kind_of(id)
  local colon = string.find(id, ":", 1, true)
  return colon and string.sub(id, 1, colon - 1) or id
end

local function group_of(id)
  return string.find(id, "/", 1, true) and string.match(id, "^(.*)/") or kind_of(id)
end
