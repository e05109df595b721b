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

local AWAY = 4503599627370496
-- Requests given up that are folded at a time; entries that are read at a time, and PAGES such reads at the
-- most.
local FOLDED, ENTRIES, PAGES = 1000, 100, 40

local function step_end(quota, at)
  return at + (quota.step - at % quota.step) % quota.step
end

-- Of a permit's slots one by one. Most cost one.
local function slot_name(permit, n)
  return permit .. (n == 1 and ":1" or ":" .. digits(n))
end

local function slots_in(entry)
  return tonumber(string.match(entry, "%*(%d+)$"))
end

local function change_sum(lane, quota, by)
  if by ~= 0 then
    local field = "n:" .. quota.name
    set_state(lane, field, tonumber(lane.state[field]) + by)
  end
end

-- - `at`: the end of the step, as text.
local function add_to_step(ledger, at, slots)
  local there = redis.call("ZRANGEBYSCORE", ledger, at, at, "LIMIT", 0, 1)[1]
  if there then
    slots = slots + slots_in(there)
    redis.call("ZREM", ledger, there)
  end
  redis.call("ZADD", ledger, at, "#" .. at .. "*" .. digits(slots))
end

-- An empty ledger in place of what may be there.
local function ledger_begin(lane, i)
  local quota = lane.quotas[i]
  redis.call("UNLINK", lane.ledger[i])
  if quota.step > 0 then
    set_state(lane, "n:" .. quota.name, 0)
  else
    drop_state(lane, "n:" .. quota.name)
  end
end

-- Whether the ledger has the form that its quota wants.
local function ledger_fits(lane, i)
  local quota = lane.quotas[i]
  return (quota.step > 0) == (lane.state["n:" .. quota.name] ~= nil)
end

-- Requests that were never answered, with the ends of their steps, join these.
local function fold(ledger, given_up)
  if #given_up == 0 then
    return
  end
  local slots_of_step, entries = {}, {}
  for n = 1, #given_up, 2 do
    local step = digits(tonumber(given_up[n + 1]) + AWAY)
    slots_of_step[step] = (slots_of_step[step] or 0) + slots_in(given_up[n])
    entries[#entries + 1] = given_up[n]
  end
  redis.call("ZREM", ledger, unpack(entries))
  for step, slots in pairs(slots_of_step) do
    add_to_step(ledger, step, slots)
  end
end

-- Brings a ledger up to date: what is free again goes; in steps, what was never answered joins the
-- step of its deadline before. All of it, whatever there is: what is left would be counted and stand
-- elsewhere than a wait is looked for (grant.lua).
local function ledger_load(lane, i, now)
  local quota, ledger = lane.quotas[i], lane.ledger[i]
  if quota.step == 0 then
    redis.call("ZREMRANGEBYSCORE", ledger, "-inf", digits(now - quota.window))
    return
  end
  local given_up
  repeat
    given_up = redis.call("ZRANGEBYSCORE", ledger, "-inf", digits(now - AWAY), "WITHSCORES",
      "LIMIT", 0, FOLDED)
    fold(ledger, given_up)
  until #given_up < 2 * FOLDED
  -- An entry a step, and a window has 1,440 of these.
  local over = digits(now - quota.window)
  local free = redis.call("ZRANGEBYSCORE", ledger, 0, over)
  if #free > 0 then
    redis.call("ZREMRANGEBYSCORE", ledger, 0, over)
    local sum = 0
    for _, entry in ipairs(free) do
      sum = sum + slots_in(entry)
    end
    change_sum(lane, quota, -sum)
  end
end

-- Slots that were granted are collected, and written with one command before anybody reads the ledger.
local function ledger_write(lane, i)
  if #lane.granted[i] > 0 then
    redis.call("ZADD", lane.ledger[i], unpack(lane.granted[i]))
    lane.granted[i] = {}
  end
end

-- How many slots are held. Counted once, and then again when more has changed than that some were taken.
local function ledger_held(lane, i, now)
  local quota = lane.quotas[i]
  if quota.step > 0 then
    return tonumber(lane.state["n:" .. quota.name])
  end
  if not lane.held[i] then
    ledger_write(lane, i)
    lane.held[i] = redis.call("ZCOUNT", lane.ledger[i], "(" .. digits(now - quota.window), "+inf")
  end
  return lane.held[i]
end
