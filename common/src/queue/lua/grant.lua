-- Shared: when a permit may be granted, and what it takes. Behind quota.lua.

-- Of what is granted, this much is collected before it is written.
local GRANTED = 400

-- What its floor owes to bulk or to spot checks, percent.
local CREDIT = { [2] = "credit2", [3] = "credit3" }
local function credit(lane, priority)
  return tonumber(lane.state[CREDIT[priority]] or 0)
end

-- Two grants early, so that its share holds over any 100 / floor grants although the other class may
-- be due as well.
local function is_owed(lane, priority, floor)
  return floor > 0 and credit(lane, priority) + 2 * floor >= 100
end

-- When the request of the `nth` slot to free was answered, or will be given up. 1 <= nth <= held.
local function answered_at(lane, i, nth, now)
  local quota, ledger = lane.quotas[i], lane.ledger[i]
  ledger_write(lane, i)
  local held_since = "(" .. digits(now - quota.window)
  if quota.step == 0 then
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
  local quota = lane.quotas[i]
  local held = ledger_held(lane, i, now)
  local too_many = held + cost - quota.limit
  if too_many <= 0 then
    return 0
  end
  local wait = math.floor((cost - 1) / quota.limit) * quota.window
  if held > 0 then
    local at = answered_at(lane, i, math.min(too_many, held), now)
    if soonest then
      at = math.min(at, quota.step > 0 and step_end(quota, now) or now)
    end
    wait = math.max(wait, at + quota.window - now)
  end
  return wait
end

-- Each permit takes its slots until one window after it is answered, or after `deadline`.
local function ledger_take(lane, i, permits, cost, deadline)
  local quota = lane.quotas[i]
  if quota.step > 0 then
    local granted, step = lane.granted[i], digits(step_end(quota, deadline) - AWAY)
    for _, permit in ipairs(permits) do
      granted[#granted + 1] = step
      granted[#granted + 1] = permit .. "*" .. digits(cost)
    end
    change_sum(lane, quota, #permits * cost)
    return
  end
  local at = digits(deadline)
  for _, permit in ipairs(permits) do
    for n = 1, cost do
      local granted = lane.granted[i]
      granted[#granted + 1] = at
      granted[#granted + 1] = slot_name(permit, n)
      if #granted >= GRANTED then
        ledger_write(lane, i)
      end
    end
  end
  lane.held[i] = lane.held[i] and lane.held[i] + #permits * cost
end

-- Microseconds until the bucket of the `i`th quota has `cost` tokens. With `spare` its head-room is
-- left to others. For more tokens than it holds: until the last of them can have been taken.
local function bucket_wait(lane, i, cost, spare, now)
  local quota = lane.quotas[i]
  local full_at = math.max(lane.state[quota.bucket], now)
  local capacity = spare and quota.burst - quota.headroom or quota.burst
  return math.max(0, full_at + (cost - capacity) * quota.interval - now)
end

-- Microseconds until the ledger of the `i`th quota opens.
local function closed_wait(lane, i, now)
  return math.max(0, lane.state[lane.quotas[i].opens] - now)
end

-- Microseconds until a request of `kind` may be granted: it is not frozen and all its quotas have
-- room; 0 is now. `spare` and `soonest` as above.
local function quota_wait(lane, kind, spare, now, soonest)
  local limits = kind_limits(lane, kind)
  local frozen = lane.frozen_kinds > 0 and lane.state["f:" .. kind]
  local wait = math.max(0, tonumber(frozen or 0) - now)
  for _, i in ipairs(limits.draws_on) do
    wait = math.max(
      wait,
      bucket_wait(lane, i, limits.cost, spare, now),
      ledger_wait(lane, i, limits.cost, now, soonest),
      closed_wait(lane, i, now)
    )
  end
  return wait
end

-- How many requests of `kind` may be granted, `most` at the most; after quota_wait said 0.
local function quota_room(lane, kind, spare, now, most)
  local limits = kind_limits(lane, kind)
  local cost = limits.cost
  for _, i in ipairs(limits.draws_on) do
    local quota = lane.quotas[i]
    local full_in = math.max(lane.state[quota.bucket] - now, 0)
    local capacity = spare and quota.burst - quota.headroom or quota.burst
    most = math.min(
      most,
      math.floor((capacity * quota.interval - full_in) / (cost * quota.interval)),
      math.floor((quota.limit - ledger_held(lane, i, now)) / cost)
    )
  end
  return most
end

-- Takes for each of the permits, numbers as text, from all quotas of `kind`; only when there is room for
-- them, and before `save_taken`.
local function take(lane, kind, permits, now, deadline_us)
  local limits = kind_limits(lane, kind)
  local cost = limits.cost
  for _, i in ipairs(limits.draws_on) do
    local quota = lane.quotas[i]
    local full_at = math.max(lane.state[quota.bucket], now) + #permits * cost * quota.interval
    set_state(lane, quota.bucket, full_at)
    ledger_take(lane, i, permits, cost, now + deadline_us)
  end
end

-- Writes what `take` took.
local function save_taken(lane)
  for i in ipairs(lane.granted) do
    ledger_write(lane, i)
  end
  save_state(lane)
end
