-- Shared: the token bucket that paces and the ledger that proves; docs/queue.md has the proof.
--
-- `limits` is what the caller's configuration says of a lane:
--   { quotas = { { name, limit, window_us, interval_us, burst, headroom }, ... },
--     kinds = { <kind> = { batch, cost, { index of a quota from 1, ... } }, ... } }

local NAME, LIMIT, WINDOW, INTERVAL, BURST, HEADROOM = 1, 2, 3, 4, 5, 6
local BATCH, COST, DRAWS_ON = 1, 2, 3

local function set_state(lane, field, value)
  lane.state[field] = value
  redis.call("HSET", lane.key.state, field, value)
end

-- Kinds of a lane that can be frozen at a time; one more freezes the lane.
local FROZEN_KINDS = 64

-- Nobody may send on the lane before `until_us`; a longer freeze stays.
local function freeze(lane, until_us, now)
  if until_us > math.max(now, tonumber(lane.state.frozen or 0)) then
    set_state(lane, "frozen", digits(until_us))
  end
end

-- The same for the requests of one kind.
local function freeze_kind(lane, kind, until_us, now)
  local field = "f:" .. kind
  if until_us <= math.max(now, tonumber(lane.state[field] or 0)) then
    return
  end
  if lane.state[field] then
    set_state(lane, field, digits(until_us))
  elseif lane.frozen_kinds < FROZEN_KINDS then
    lane.frozen_kinds = lane.frozen_kinds + 1
    set_state(lane, field, digits(until_us))
  else
    freeze(lane, until_us, now)
  end
end

-- Reads the lane's state. Freezes of kinds that are over are forgotten. A quota that this Redis has not seen before, because it is new or because
-- everything was lost, starts with an empty bucket and with its ledger closed until no permit
-- granted before can be counted by the platform any more.
local function load_quotas(lane, limits, first_ledger, now, deadline_us)
  lane.limits = limits
  lane.ledger = {}
  lane.state = {}
  local flat = redis.call("HGETALL", lane.key.state)
  lane.frozen_kinds = 0
  for i = 1, #flat, 2 do
    local is_kind = string.sub(flat[i], 1, 2) == "f:"
    if is_kind and tonumber(flat[i + 1]) <= now then
      redis.call("HDEL", lane.key.state, flat[i])
    else
      lane.state[flat[i]] = flat[i + 1]
      lane.frozen_kinds = lane.frozen_kinds + (is_kind and 1 or 0)
    end
  end
  lane.every_quota = {}
  for i, quota in ipairs(limits.quotas) do
    lane.every_quota[i] = i
    lane.ledger[i] = KEYS[first_ledger + i - 1]
    if not lane.state["b:" .. quota[NAME]] then
      set_state(lane, "b:" .. quota[NAME], digits(now + quota[BURST] * quota[INTERVAL]))
      set_state(lane, "o:" .. quota[NAME], digits(now + deadline_us + quota[WINDOW]))
      set_state(lane, "closed", "1")
    end
  end
end

local function kind_limits(lane, kind)
  return lane.limits.kinds[kind] or { 1, 1, lane.every_quota }
end

-- Microseconds until a request of `kind` may be granted: it is not frozen and all its quotas have
-- room; 0 is now. With `spare`
-- the head-room of each bucket is left to others. With `soonest` every request that is on its way is
-- taken to be answered now: for a caller whom no answer wakes, and who must not sleep until a deadline
-- that the answer makes void.
local function quota_wait(lane, kind, spare, now, soonest)
  local limits = kind_limits(lane, kind)
  local cost = limits[COST]
  local wait = math.max(0, tonumber(lane.state["f:" .. kind] or 0) - now)
  for _, i in ipairs(limits[DRAWS_ON]) do
    local quota = lane.limits.quotas[i]
    local full_at = math.max(tonumber(lane.state["b:" .. quota[NAME]]), now)
    local capacity = spare and quota[BURST] - quota[HEADROOM] or quota[BURST]
    wait = math.max(
      wait,
      full_at + (cost - capacity) * quota[INTERVAL] - now,
      tonumber(lane.state["o:" .. quota[NAME]]) - now
    )
    -- A slot is held while its score is above now - window.
    local held_since = "(" .. digits(now - quota[WINDOW])
    local held = redis.call("ZCOUNT", lane.ledger[i], held_since, "+inf")
    local too_many = held + cost - quota[LIMIT]
    if too_many > 0 then
      local last = redis.call("ZRANGEBYSCORE", lane.ledger[i], held_since, "+inf",
        "WITHSCORES", "LIMIT", too_many - 1, 1)
      local answered_at = tonumber(last[2])
      if soonest then
        answered_at = math.min(answered_at, now)
      end
      wait = math.max(wait, answered_at + quota[WINDOW] - now)
    end
  end
  return wait
end

-- Takes from all quotas of `kind`; only after quota_wait said 0. The permit holds its slots until
-- one window after it is answered, or after its deadline.
local function take(lane, kind, permit, now, deadline_us)
  local limits = kind_limits(lane, kind)
  for _, i in ipairs(limits[DRAWS_ON]) do
    local quota = lane.limits.quotas[i]
    local field = "b:" .. quota[NAME]
    local full_at = math.max(tonumber(lane.state[field]), now) + limits[COST] * quota[INTERVAL]
    set_state(lane, field, digits(full_at))
    redis.call("ZREMRANGEBYSCORE", lane.ledger[i], "-inf", digits(now - quota[WINDOW]))
    for n = 1, limits[COST] do
      redis.call("ZADD", lane.ledger[i], now + deadline_us, digits(permit) .. ":" .. n)
    end
  end
end

-- The answer to a permit has come: its slots now free one window from now. Returns the earliest
-- time at which one of them does.
local function answered(lane, kind, permit, now)
  local limits = kind_limits(lane, kind)
  local free_at = math.huge
  for _, i in ipairs(limits[DRAWS_ON]) do
    redis.call("ZREMRANGEBYSCORE", lane.ledger[i], "-inf", digits(now - lane.limits.quotas[i][WINDOW]))
    for n = 1, limits[COST] do
      -- XX: a slot that is free again, since its deadline is long over, stays free.
      redis.call("ZADD", lane.ledger[i], "XX", now, digits(permit) .. ":" .. n)
    end
    free_at = math.min(free_at, now + lane.limits.quotas[i][WINDOW])
  end
  return free_at
end

-- Nothing was sent under a permit, and nothing will be: its slots are free and its tokens back in
-- the bucket. A permit of which the ledger knows nothing more gives nothing back.
local function give_back(lane, kind, permit, now)
  local limits = kind_limits(lane, kind)
  for _, i in ipairs(limits[DRAWS_ON]) do
    local quota = lane.limits.quotas[i]
    local freed = 0
    redis.call("ZREMRANGEBYSCORE", lane.ledger[i], "-inf", digits(now - quota[WINDOW]))
    for n = 1, limits[COST] do
      freed = freed + redis.call("ZREM", lane.ledger[i], digits(permit) .. ":" .. n)
    end
    local field = "b:" .. quota[NAME]
    set_state(lane, field, digits(tonumber(lane.state[field]) - freed * quota[INTERVAL]))
  end
end

-- The platform says that it takes `remaining` more requests until `reset_us` from now. Holds slots
-- in the longest quota of `kind` so that we do not count on more; never frees any.
local function believe(lane, kind, remaining, reset_us, tag, now)
  local longest
  for _, i in ipairs(kind_limits(lane, kind)[DRAWS_ON]) do
    if not longest or lane.limits.quotas[i][WINDOW] > lane.limits.quotas[longest][WINDOW] then
      longest = i
    end
  end
  local quota = lane.limits.quotas[longest]
  local ledger = lane.ledger[longest]
  reset_us = math.min(reset_us, quota[WINDOW])
  local held = redis.call("ZCOUNT", ledger, "(" .. digits(now - quota[WINDOW]), "+inf")
  local surplus = quota[LIMIT] - held - remaining
  for n = 1, math.min(surplus, quota[LIMIT]) do
    redis.call("ZADD", ledger, now + reset_us - quota[WINDOW], tag .. ":said:" .. n)
  end
end
