-- Shared: what a lane may send and when: token buckets that pace, ledgers that prove (ledger.lua),
-- freezes, floors.
--
-- `limits` is what the caller's configuration says of a lane (wire.rs), numbers with their first byte
-- in front, names behind their length in one byte:
--   number of quotas, 1 byte; of each: name, limit 4, window us 7, interval us 7, burst 4, headroom 4,
--   step us or 0 in 7;
--   then of each kind to the end: name, batch 4, cost 4, how many quotas it draws on 1, and the index of
--   each, from 1, in 1 byte

local QUOTA_LAYOUT, KIND_LAYOUT = ">I1c0I4I7I7I4I4I7", ">I1c0I4I4I1"

-- Freezes of kinds that are over are forgotten.
local function load_state(lane, now)
  local flat = redis.call("HGETALL", lane.key.state)
  local state, frozen_kinds = {}, 0
  for i = 1, #flat, 2 do
    local field, value = flat[i], flat[i + 1]
    local is_kind = string.find(field, "f:", 1, true) == 1
    if is_kind and tonumber(value) <= now then
      redis.call("HDEL", lane.key.state, field)
    else
      state[field] = value
      frozen_kinds = frozen_kinds + (is_kind and 1 or 0)
    end
  end
  lane.state, lane.frozen_kinds = state, frozen_kinds
end

-- Reads the lane's state, if that was not done yet, and its quotas. A quota that this Redis has not
-- seen before, because it is new, because everything was lost or because the index came from another
-- server, starts with an empty bucket and with its ledger closed until no permit granted before can
-- be counted by the platform any more.
local function load_quotas(lane, limits, first_ledger, now, deadline_us)
  if not lane.state then
    load_state(lane, now)
  end
  lane.quotas, lane.kinds, lane.ledger, lane.held, lane.granted = {}, {}, {}, {}, {}
  if lane.state.generation ~= generation then
    for field in pairs(lane.state) do
      if string.find(field, "^[bon]:") then
        drop_state(lane, field)
      end
    end
    set_state(lane, "generation", generation)
  end
  lane.every_quota = {}
  local at = 2
  for i = 1, string.byte(limits) do
    local name, limit, window, interval, burst, headroom, step, ends =
      struct.unpack(QUOTA_LAYOUT, limits, at)
    -- Where the lane's state says when its bucket is full, and when its ledger opens.
    local bucket, opens = "b:" .. name, "o:" .. name
    lane.quotas[i] = {
      name = name, limit = limit, window = window, interval = interval, burst = burst,
      headroom = headroom, step = step, bucket = bucket, opens = opens,
    }
    at = ends
    lane.every_quota[i] = i
    lane.granted[i] = {}
    lane.ledger[i] = KEYS[first_ledger + i - 1]
    -- One whose limit has changed so much that it is counted in another way is as good as new.
    if not lane.state[bucket] or not ledger_fits(lane, i) then
      ledger_begin(lane, i)
      set_state(lane, bucket, now + burst * interval)
      set_state(lane, opens, now + deadline_us + window)
      set_state(lane, "closed", "1")
    end
    -- As numbers: each grant asks for them.
    lane.state[bucket], lane.state[opens] = tonumber(lane.state[bucket]), tonumber(lane.state[opens])
    ledger_load(lane, i, now)
  end
  lane.limits, lane.kinds_at = limits, at
end

-- Only the kinds that are asked for are read.
local function kind_limits(lane, kind)
  local found, at, packed = lane.kinds[kind], lane.kinds_at, lane.limits
  while not found and at <= #packed do
    local name, batch, cost, draws_on, ends = struct.unpack(KIND_LAYOUT, packed, at)
    found = name == kind
      and { batch = batch, cost = cost, draws_on = { string.byte(packed, ends, ends + draws_on - 1) } }
    at = ends + draws_on
  end
  lane.kinds[kind] = found or { batch = 1, cost = 1, draws_on = lane.every_quota }
  return lane.kinds[kind]
end
