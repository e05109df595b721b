-- Shared: a job as it lies in the hash `jobs`: LAYOUT, and then the trace context of whoever asked.
--
--   bytes  1       STATE
--          2       ATTEMPT  how many have ended without success
--          3..9    ARRIVED  when it got its priority, us
--          10      DIRTY    the most urgent priority that asked for it while it was leased, or CLEAN
--          11      ROUND    which look of a confirming series this is
--          12      PRIORITY
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

-- Places in the table.
local STATE, ATTEMPT, ARRIVED, DIRTY, ROUND, PRIORITY, TRACE = 1, 2, 3, 4, 5, 6, 7

local function job_of(packed)
  local job = { struct.unpack(LAYOUT, packed) }
  job[TRACE] = string.sub(packed, HEAD_BYTES + 1)
  return job
end

local function packed_job(job)
  return struct.pack(LAYOUT, unpack(job, 1, PRIORITY)) .. job[TRACE]
end

-- ARRIVED, as it stands in a place (place.lua).
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
  job[ATTEMPT] = math.min(job[ATTEMPT] + 1, MOST_ATTEMPTS)
end

-- What jobs that can share a request have in common: all before the last slash, or the kind.
local function kind_of(id)
  local colon = string.find(id, ":", 1, true)
  return colon and string.sub(id, 1, colon - 1) or id
end

local function group_of(id)
  return string.find(id, "/", 1, true) and string.match(id, "^(.*)/") or kind_of(id)
end
