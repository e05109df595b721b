-- Shared: a lane's keys, and when it next wants a claim.
--
-- The keys of one lane are given in this order, `LANE_KEYS` of them before its ledgers:
--   state    hash  b:<quota> bucket full again at, us; o:<quota> ledger closed until, us;
--                  n:<quota> slots held, of a ledger in steps;
--                  generation of the index (clock.lua) that these are of;
--                  closed "1" while a ledger waits to be rebuilt; frozen until, us;
--                  f:<kind> the same for one kind; paused "1";
--                  credit2, credit3: what the floors owe to bulk and to spot checks, percent;
--                  leased: jobs under a lease
--   ready0..ready3  zset  one line for each priority (line.lua)
--   delayed  zset  job id -> not before, us
--   leases   zset  fence of a batch -> deadline, us
--   jobs     hash  job id -> packed job (job.lua)
--   batches  hash  fence -> ids of the jobs that are under this lease (job.lua);
--                  <fence>:n how many these are when they are several, below 0 when others were
--                  settled before: then it takes a look at each to settle them;
--                  dirty: leased jobs that were asked for meanwhile, absent for none
--   ledger   zset  one for each quota (ledger.lua)

local LANE_KEYS = 9

local function lane_at(name, first_key)
  return {
    name = name,
    key = {
      state = KEYS[first_key],
      ready = {
        [0] = KEYS[first_key + 1],
        [1] = KEYS[first_key + 2],
        [2] = KEYS[first_key + 3],
        [3] = KEYS[first_key + 4],
      },
      delayed = KEYS[first_key + 5],
      leases = KEYS[first_key + 6],
      jobs = KEYS[first_key + 7],
      batches = KEYS[first_key + 8],
    },
  }
end

-- Changes of the lane's state, text or whole numbers, are collected and written with one command.
local function set_state(lane, field, value)
  lane.state[field] = value
  lane.unsaved = lane.unsaved or {}
  lane.unsaved[field] = value
end

local function drop_state(lane, field)
  lane.state[field] = nil
  if lane.unsaved then
    lane.unsaved[field] = nil
  end
  redis.call("HDEL", lane.key.state, field)
end

local function save_state(lane)
  if not lane.unsaved then
    return
  end
  local fields = {}
  for field, value in pairs(lane.unsaved) do
    fields[#fields + 1] = field
    fields[#fields + 1] = type(value) == "number" and digits(value) or value
  end
  lane.unsaved = nil
  if #fields > 0 then
    redis.call("HSET", lane.key.state, unpack(fields))
  end
end

local function count_leased(lane, by)
  set_state(lane, "leased", math.max(0, tonumber(lane.state.leased or 0) + by))
end

-- While none is, an acknowledgement need not look whether its jobs are to run once more.
local function count_dirty(lane, by)
  if by ~= 0 and redis.call("HINCRBY", lane.key.batches, "dirty", by) <= 0 then
    redis.call("HDEL", lane.key.batches, "dirty")
  end
end

-- The lane wants a claim at `at` or earlier. One wake-up token at most lies in `wake`: whoever
-- takes it claims, and puts it back when runnable work is left, so that wake-ups chain.
--
-- Idle workers sleep until the earliest time that a claim told them. A time before that is told to
-- one of them in the same way: its claim says when to come back.
local function wants_claim(lanes, wake, lane, at, now)
  local score = redis.call("ZSCORE", lanes, lane.name)
  local sooner = false
  if not score or at < tonumber(score) then
    redis.call("ZADD", lanes, digits(at), lane.name)
    sooner = at > now and redis.call("ZRANGE", lanes, 0, 0)[1] == lane.name
  end
  if (sooner or at <= now) and redis.call("LLEN", wake) == 0 then
    redis.call("LPUSH", wake, lane.name)
  end
end

-- A webhook or a person waits in the lane: told apart from the rest, for workers that have slots left
-- for nothing else. It only makes such work quicker; whoever claims the lane finds it anyway.
local function has_urgent(urgent, lane, now)
  redis.call("ZADD", urgent, "NX", digits(now), lane.name)
end
