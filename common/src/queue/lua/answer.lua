-- Shared: what becomes of permits that were granted, and freezes. Behind quota.lua.

-- Of what answers free, this much is collected before it is written.
local ANSWERED = 400
-- Kinds of a lane that can be frozen at a time; one more freezes the lane.
local FROZEN_KINDS = 64

-- Nobody may send on the lane before `until_us`; a longer freeze stays.
local function freeze(lane, until_us, now)
  if until_us > math.max(now, tonumber(lane.state.frozen or 0)) then
    set_state(lane, "frozen", until_us)
  end
end

-- The same for the requests of one kind.
local function freeze_kind(lane, kind, until_us, now)
  local field = "f:" .. kind
  if until_us <= math.max(now, tonumber(lane.state[field] or 0)) then
    return
  end
  if lane.state[field] then
    set_state(lane, field, until_us)
  elseif lane.frozen_kinds < FROZEN_KINDS then
    lane.frozen_kinds = lane.frozen_kinds + 1
    set_state(lane, field, until_us)
  else
    freeze(lane, until_us, now)
  end
end

-- The answers to permits of one cost have come. Returns when their slots are free.
local function ledger_answered(lane, i, permits, cost, now)
  local quota, ledger = lane.quotas[i], lane.ledger[i]
  if quota.step > 0 then
    local at, names = step_end(quota, now), {}
    for n, permit in ipairs(permits) do
      names[n] = permit .. "*" .. digits(cost)
    end
    -- One that is not there was answered before, or given up.
    local found = redis.call("ZREM", ledger, unpack(names))
    if found > 0 then
      add_to_step(ledger, digits(at), found * cost)
    end
    return at + quota.window
  end
  local at, slots = digits(now), {}
  local function write()
    -- XX: a slot that is free again, since its deadline is long over, stays free.
    redis.call("ZADD", ledger, "XX", unpack(slots))
    slots = {}
  end
  for _, permit in ipairs(permits) do
    for n = 1, cost do
      slots[#slots + 1] = at
      slots[#slots + 1] = slot_name(permit, n)
      if #slots >= ANSWERED then
        write()
      end
    end
  end
  if #slots > 0 then
    write()
  end
  return now + quota.window
end

-- Nothing was sent under a permit, and nothing will be. Returns how many slots that frees: none of
-- which the ledger knows nothing more.
local function ledger_give_back(lane, i, permit, cost, now)
  local quota, ledger = lane.quotas[i], lane.ledger[i]
  if quota.step > 0 then
    local freed = cost * redis.call("ZREM", ledger, permit .. "*" .. digits(cost))
    change_sum(lane, quota, -freed)
    return freed
  end
  lane.held[i] = nil
  local freed = 0
  for n = 1, cost do
    freed = freed + redis.call("ZREM", ledger, slot_name(permit, n))
  end
  return freed
end

-- Holds `slots` as if their requests had been answered at `at`. `tag` is unique.
local function ledger_hold(lane, i, slots, at, tag, now)
  local quota, ledger = lane.quotas[i], lane.ledger[i]
  if quota.step > 0 then
    at = step_end(quota, at)
    if slots > 0 and at > now - quota.window then
      add_to_step(ledger, digits(at), slots)
      change_sum(lane, quota, slots)
    end
    return
  end
  lane.held[i] = nil
  for n = 1, slots do
    redis.call("ZADD", ledger, digits(at), tag .. ":" .. n)
  end
end

-- The answers to these permits of a kind have come: their slots now free one window from now. Returns
-- the earliest time at which one of them does.
local function answered(lane, kind, permits, now)
  local limits = kind_limits(lane, kind)
  local free_at = math.huge
  for _, i in ipairs(limits.draws_on) do
    free_at = math.min(free_at, ledger_answered(lane, i, permits, limits.cost, now))
  end
  return free_at
end

-- Nothing was sent under a permit, and nothing will be: its slots are free and its tokens back in
-- the bucket. A permit of which the ledger knows nothing more gives nothing back.
local function give_back(lane, kind, permit, now)
  local limits = kind_limits(lane, kind)
  for _, i in ipairs(limits.draws_on) do
    local quota = lane.quotas[i]
    local freed = ledger_give_back(lane, i, permit, limits.cost, now)
    set_state(lane, quota.bucket, lane.state[quota.bucket] - freed * quota.interval)
  end
end

-- The platform says that it takes `remaining` more requests until `reset_us` from now. Holds slots
-- in the longest quota of `kind` so that we do not count on more; never frees any.
local function believe(lane, kind, remaining, reset_us, tag, now)
  local longest
  for _, i in ipairs(kind_limits(lane, kind).draws_on) do
    if not longest or lane.quotas[i].window > lane.quotas[longest].window then
      longest = i
    end
  end
  local quota = lane.quotas[longest]
  local surplus = quota.limit - ledger_held(lane, longest, now) - remaining
  local reset_at = now + math.min(reset_us, quota.window)
  ledger_hold(lane, longest, math.min(surplus, quota.limit), reset_at - quota.window, tag .. ":said", now)
end
