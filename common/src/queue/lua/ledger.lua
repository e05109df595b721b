-- Shared: the ledgers, which prove that no window sees more than its limit; docs/queue.md has the proof.
--
-- A request holds its slots from its grant until one window after its answer, or after its deadline
-- when none comes. A ledger is a zset, in one of two forms:
--
--   one by one   <permit>:<n>      answered, or its deadline, us; held while that is above now - window
--   in steps     #<end>*<slots>    end of a step of time, us: all that were answered, or whose
--                                  deadline was, in that step; held like those above
--                <permit>*<slots>  not answered yet: the end of the step with its deadline, less AWAY,
--                                  so that they stand apart, the first to be given up in front
--
-- Steps round up, so a slot is held for up to a step too long and never too short. The sum of all
-- slots in steps is n:<quota> in the lane's state.

local NAME, LIMIT, WINDOW, INTERVAL, BURST, HEADROOM, STEP = 1, 2, 3, 4, 5, 6, 7
local AWAY = 4503599627370496
-- Entries that one call folds, trims or reads at a time; PAGES such reads at the most.
local ENTRIES, PAGES = 100, 40

local function step_end(quota, at)
  return at + (quota[STEP] - at % quota[STEP]) % quota[STEP]
end

local function slots_in(entry)
  return tonumber(string.match(entry, "%*(%d+)$"))
end

local function change_sum(lane, quota, by)
  if by ~= 0 then
    local field = "n:" .. quota[NAME]
    set_state(lane, field, digits(tonumber(lane.state[field]) + by))
  end
end

local function add_to_step(ledger, at, slots)
  local there = redis.call("ZRANGEBYSCORE", ledger, digits(at), digits(at), "LIMIT", 0, 1)[1]
  if there then
    slots = slots + slots_in(there)
    redis.call("ZREM", ledger, there)
  end
  redis.call("ZADD", ledger, digits(at), "#" .. digits(at) .. "*" .. slots)
end

-- An empty ledger in place of what may be there.
local function ledger_begin(lane, i)
  local quota = lane.limits.quotas[i]
  redis.call("UNLINK", lane.ledger[i])
  if quota[STEP] > 0 then
    set_state(lane, "n:" .. quota[NAME], "0")
  else
    drop_state(lane, "n:" .. quota[NAME])
  end
end

-- Whether the ledger has the form that its quota wants.
local function ledger_fits(lane, i)
  local quota = lane.limits.quotas[i]
  return (quota[STEP] > 0) == (lane.state["n:" .. quota[NAME]] ~= nil)
end

-- Brings a ledger in steps up to date: what was never answered joins the step of its deadline, and
-- what is free again goes.
local function ledger_load(lane, i, now)
  local quota, ledger = lane.limits.quotas[i], lane.ledger[i]
  if quota[STEP] == 0 then
    return
  end
  local given_up = redis.call("ZRANGEBYSCORE", ledger, "-inf", digits(now - AWAY), "WITHSCORES",
    "LIMIT", 0, ENTRIES)
  for n = 1, #given_up, 2 do
    redis.call("ZREM", ledger, given_up[n])
    add_to_step(ledger, tonumber(given_up[n + 1]) + AWAY, slots_in(given_up[n]))
  end
  local free = redis.call("ZRANGEBYSCORE", ledger, 0, digits(now - quota[WINDOW]), "LIMIT", 0, ENTRIES)
  local sum = 0
  for _, entry in ipairs(free) do
    redis.call("ZREM", ledger, entry)
    sum = sum + slots_in(entry)
  end
  change_sum(lane, quota, -sum)
end

-- How many slots are held.
local function ledger_held(lane, i, now)
  local quota = lane.limits.quotas[i]
  if quota[STEP] > 0 then
    return tonumber(lane.state["n:" .. quota[NAME]])
  end
  return redis.call("ZCOUNT", lane.ledger[i], "(" .. digits(now - quota[WINDOW]), "+inf")
end

-- When the request of the `nth` slot to free was answered, or will be given up. 1 <= nth <= held.
local function answered_at(lane, i, nth, now)
  local quota, ledger = lane.limits.quotas[i], lane.ledger[i]
  local held_since = "(" .. digits(now - quota[WINDOW])
  if quota[STEP] == 0 then
    return tonumber(redis.call("ZRANGEBYSCORE", ledger, held_since, "+inf",
      "WITHSCORES", "LIMIT", nth - 1, 1)[2])
  end
  local seen, at = 0, now
  for _, part in ipairs({ { held_since, "+inf", 0 }, { "-inf", "(0", AWAY } }) do
    for page = 0, PAGES - 1 do
      local entries = redis.call("ZRANGEBYSCORE", ledger, part[1], part[2], "WITHSCORES",
        "LIMIT", page * ENTRIES, ENTRIES)
      for n = 1, #entries, 2 do
        seen, at = seen + slots_in(entries[n]), tonumber(entries[n + 1]) + part[3]
        if seen >= nth then
          return at
        end
      end
      if #entries < 2 * ENTRIES then
        break
      end
    end
  end
  return at
end

-- Microseconds until `cost` slots are free. With `soonest` every request that is on its way is taken
-- to be answered now: for a caller whom no answer wakes, and who must not sleep until a deadline that
-- the answer makes void. For more slots than there are: until the last of them can have been taken.
local function ledger_wait(lane, i, cost, now, soonest)
  local quota = lane.limits.quotas[i]
  local held = ledger_held(lane, i, now)
  local too_many = held + cost - quota[LIMIT]
  if too_many <= 0 then
    return 0
  end
  local wait = math.floor((cost - 1) / quota[LIMIT]) * quota[WINDOW]
  if held > 0 then
    local at = answered_at(lane, i, math.min(too_many, held), now)
    if soonest then
      at = math.min(at, quota[STEP] > 0 and step_end(quota, now) or now)
    end
    wait = math.max(wait, at + quota[WINDOW] - now)
  end
  return wait
end

-- A permit takes its slots until one window after it is answered, or after `deadline`.
local function ledger_take(lane, i, permit, cost, now, deadline)
  local quota, ledger = lane.limits.quotas[i], lane.ledger[i]
  if quota[STEP] > 0 then
    redis.call("ZADD", ledger, digits(step_end(quota, deadline) - AWAY), digits(permit) .. "*" .. cost)
    change_sum(lane, quota, cost)
    return
  end
  redis.call("ZREMRANGEBYSCORE", ledger, "-inf", digits(now - quota[WINDOW]))
  for n = 1, cost do
    redis.call("ZADD", ledger, digits(deadline), digits(permit) .. ":" .. n)
  end
end

-- The answer to a permit has come. Returns when its slots are free.
local function ledger_answered(lane, i, permit, cost, now)
  local quota, ledger = lane.limits.quotas[i], lane.ledger[i]
  if quota[STEP] > 0 then
    local at = step_end(quota, now)
    -- One that is not there was answered before, or given up.
    if redis.call("ZREM", ledger, digits(permit) .. "*" .. cost) == 1 then
      add_to_step(ledger, at, cost)
    end
    return at + quota[WINDOW]
  end
  redis.call("ZREMRANGEBYSCORE", ledger, "-inf", digits(now - quota[WINDOW]))
  for n = 1, cost do
    -- XX: a slot that is free again, since its deadline is long over, stays free.
    redis.call("ZADD", ledger, "XX", digits(now), digits(permit) .. ":" .. n)
  end
  return now + quota[WINDOW]
end

-- Nothing was sent under a permit, and nothing will be. Returns how many slots that frees: none of
-- which the ledger knows nothing more.
local function ledger_give_back(lane, i, permit, cost, now)
  local quota, ledger = lane.limits.quotas[i], lane.ledger[i]
  if quota[STEP] > 0 then
    local freed = cost * redis.call("ZREM", ledger, digits(permit) .. "*" .. cost)
    change_sum(lane, quota, -freed)
    return freed
  end
  redis.call("ZREMRANGEBYSCORE", ledger, "-inf", digits(now - quota[WINDOW]))
  local freed = 0
  for n = 1, cost do
    freed = freed + redis.call("ZREM", ledger, digits(permit) .. ":" .. n)
  end
  return freed
end

-- Holds `slots` as if their requests had been answered at `at`. `tag` is unique.
local function ledger_hold(lane, i, slots, at, tag, now)
  local quota, ledger = lane.limits.quotas[i], lane.ledger[i]
  if quota[STEP] > 0 then
    at = step_end(quota, at)
    if slots > 0 and at > now - quota[WINDOW] then
      add_to_step(ledger, at, slots)
      change_sum(lane, quota, slots)
    end
    return
  end
  for n = 1, slots do
    redis.call("ZADD", ledger, digits(at), tag .. ":" .. n)
  end
end
