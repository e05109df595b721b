-- Shared: a job as it lies in the hash `jobs`, packed by MessagePack as an array.

local READY, LEASED, DELAYED, BACKOFF = 0, 1, 2, 3

-- Places in the array. ARRIVED: when it got its priority, us. DIRTY: the most urgent priority that
-- asked for it while it was leased, or -1. ROUND: which look of a confirming series this is.
local STATE, PRIORITY, ARRIVED, ATTEMPT, FENCE, DIRTY, ROUND, TRACE = 1, 2, 3, 4, 5, 6, 7, 8

local function load_job(jobs, id)
  local packed = redis.call("HGET", jobs, id)
  return packed and cmsgpack.unpack(packed)
end

local function save_job(jobs, id, job)
  redis.call("HSET", jobs, id, cmsgpack.pack(job))
end

-- What jobs that can share a request have in common: all before the last slash, or the kind.
local function kind_of(id)
  return string.match(id, "^[^:]*")
end

local function group_of(id)
  return string.find(id, "/", 1, true) and string.match(id, "^(.*)/") or kind_of(id)
end
