-- Shared: what a lane may send and when: token buckets that pace, ledgers that prove (ledger.lua),
-- freezes, floors.
--
-- `limits` is what the caller's configuration says of a lane:
--   { quotas = { { name, limit, window_us, interval_us, burst, headroom, step_us or 0 }, ... },
--     kinds = { <kind> = { batch, cost, { index of a quota from 1, ... } }, ... } }

local BATCH, COST, DRAWS_ON = 1, 2, 3

-- Kinds of a lane that can be frozen at a time; one more freezes the lane.
local FROZEN_KINDS = 64

-- What its floor owes to bulk or to spot checks, percent.
local function credit(lane, priority)
  return tonumber(lane.state["credit" .. priority] or 0)
end

-- Two grants early, so that its share holds over any 100 / floor grants although the other class may
-- be due as well.
local function is_owed(lane, priority, floor)
  return floor > 0 and credit(lane, priority) + 2 * floor >= 100
end

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

-- Freezes of kinds that are over are forgotten.
local function load_state(lane, now)
  local flat = redis.call("HGETALL", lane.key.state)
  lane.state, lane.frozen_kinds = {}, 0
  for i = 1, #flat, 2 do
    local first, second = string.byte(flat[i], 1, 2)
    local is_kind = first == 102 and second == 58 -- "f:"
    if is_kind and tonumber(flat[i + 1]) <= now then
      redis.call("HDEL", lane.key.state, flat[i])
    else
      lane.state[flat[i]] = flat[i + 1]
      lane.frozen_kinds = lane.frozen_kinds + (is_kind and 1 or 0)
    end
  end
end

-- Reads the lane's state, if that was not done yet, and its quotas. A quota that this Redis has not
-- seen before, because it is new, because everything was lost or because the index came from another
-- server, starts with an empty bucket and with its ledger closed until no permit granted before can
-- be counted by the platform any more.
local function load_quotas(lane, limits, first_ledger, now, deadline_us)
  if not lane.state then
    load_state(lane, now)
  end
  lane.limits, lane.ledger = limits, {}
  if lane.state.generation ~= generation then
    for field in pairs(lane.state) do
      if string.find(field, "^[bon]:") then
        drop_state(lane, field)
      end
    end
    set_state(lane, "generation", generation)
  end
  lane.every_quota = {}
  for i, quota in ipairs(limits.quotas) do
    lane.every_quota[i] = i
    lane.ledger[i] = KEYS[first_ledger + i - 1]
    -- One whose limit has changed so much that it is counted in another way is as good as new.
    if not lane.state["b:" .. quota[NAME]] or not ledger_fits(lane, i) then
      ledger_begin(lane, i)
      set_state(lane, "b:" .. quota[NAME], digits(now + quota[BURST] * quota[INTERVAL]))
      set_state(lane, "o:" .. quota[NAME], digits(now + deadline_us + quota[WINDOW]))
      set_state(lane, "closed", "1")
    end
    ledger_load(lane, i, now)
  end
end

local function kind_limits(lane, kind)
  return lane.limits.kinds[kind] or { 1, 1, lane.every_quota }
end

-- Microseconds until the bucket of the `i`th quota has `cost` tokens. With `spare` its head-room is
-- left to others. For more tokens than it holds: until the last of them can have been taken.
local function bucket_wait(lane, i, cost, spare, now)
  local quota = lane.limits.quotas[i]
  local full_at = math.max(tonumber(lane.state["b:" .. quota[NAME]]), now)
  local capacity = spare and quota[BURST] - quota[HEADROOM] or quota[BURST]
  return math.max(0, full_at + (cost - capacity) * quota[INTERVAL] - now)
end

-- Microseconds until the ledger of the `i`th quota opens.
local function closed_wait(lane, i, now)
  return math.max(0, tonumber(lane.state["o:" .. lane.limits.quotas[i][NAME]]) - now)
end

-- Microseconds until a request of `kind` may be granted: it is not frozen and all its quotas have
-- room; 0 is now. `spare` and `soonest` as above.
local function quota_wait(lane, kind, spare, now, soonest)
  local limits = kind_limits(lane, kind)
  local wait = math.max(0, tonumber(lane.state["f:" .. kind] or 0) - now)
  for _, i in ipairs(limits[DRAWS_ON]) do
    wait = math.max(
      wait,
      bucket_wait(lane, i, limits[COST], spare, now),
      ledger_wait(lane, i, limits[COST], now, soonest),
      closed_wait(lane, i, now)
    )
  end
  return wait
end

-- Takes from all quotas of `kind`; only after quota_wait said 0.
local function take(lane, kind, permit, now, deadline_us)
  local limits = kind_limits(lane, kind)
  for _, i in ipairs(limits[DRAWS_ON]) do
    local quota = lane.limits.quotas[i]
    local field = "b:" .. quota[NAME]
    local full_at = math.max(tonumber(lane.state[field]), now) + limits[COST] * quota[INTERVAL]
    set_state(lane, field, digits(full_at))
    ledger_take(lane, i, permit, limits[COST], now, now + deadline_us)
  end
end

-- The answer to a permit has come: its slots now free one window from now. Returns the earliest
-- time at which one of them does.
local function answered(lane, kind, permit, now)
  local limits = kind_limits(lane, kind)
  local free_at = math.huge
  for _, i in ipairs(limits[DRAWS_ON]) do
    free_at = math.min(free_at, ledger_answered(lane, i, permit, limits[COST], now))
  end
  return free_at
end

-- Nothing was sent under a permit, and nothing will be: its slots are free and its tokens back in
-- the bucket. A permit of which the ledger knows nothing more gives nothing back.
local function give_back(lane, kind, permit, now)
  local limits = kind_limits(lane, kind)
  for _, i in ipairs(limits[DRAWS_ON]) do
    local quota = lane.limits.quotas[i]
    local freed = ledger_give_back(lane, i, permit, limits[COST], now)
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
  local surplus = quota[LIMIT] - ledger_held(lane, longest, now) - remaining
  local reset_at = now + math.min(reset_us, quota[WINDOW])
  ledger_hold(lane, longest, math.min(surplus, quota[LIMIT]), reset_at - quota[WINDOW], tag .. ":said", now)
end
