-- Shared: what a lane may send and when: token buckets that pace, ledgers that prove (ledger.lua),
-- freezes, floors.
--
-- `limits` is what the caller's configuration says of a lane:
--   { quotas = { { name, limit, window_us, interval_us, burst, headroom, step_us or 0 }, ... },
--     kinds = { <kind> = { batch, cost, { index of a quota from 1, ... } }, ... } }

local BATCH, COST, DRAWS_ON = 1, 2, 3
-- And where the lane's state says when its bucket is full, and when its ledger opens.
local BUCKET, OPENS = 8, 9

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
  lane.limits, lane.ledger, lane.held, lane.granted = limits, {}, {}, {}
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
    local bucket, opens = "b:" .. quota[NAME], "o:" .. quota[NAME]
    quota[BUCKET], quota[OPENS] = bucket, opens
    lane.every_quota[i] = i
    lane.granted[i] = {}
    lane.ledger[i] = KEYS[first_ledger + i - 1]
    -- One whose limit has changed so much that it is counted in another way is as good as new.
    if not lane.state[bucket] or not ledger_fits(lane, i) then
      ledger_begin(lane, i)
      set_state(lane, bucket, now + quota[BURST] * quota[INTERVAL])
      set_state(lane, opens, now + deadline_us + quota[WINDOW])
      set_state(lane, "closed", "1")
    end
    -- As numbers: each grant asks for them.
    lane.state[bucket], lane.state[opens] = tonumber(lane.state[bucket]), tonumber(lane.state[opens])
    ledger_load(lane, i, now)
  end
end

local function kind_limits(lane, kind)
  return lane.limits.kinds[kind] or { 1, 1, lane.every_quota }
end
