-- Open the ledgers of a lane that this Redis had not seen, from what Postgres knows.
--
-- KEYS  1 shard  2 lanes  3 wake  4 urgent  5.. the lane (lane.lua), then one ledger for each quota
-- ARGV  1 index and time (clock.lua)
--       2 lane  3 limits (quota.lua)
--       4 time from a permit's grant until its request is answered or given up, us
--       5 generation in which what follows was found out, or "" for any: in another one it says nothing
--       6.. per quota, in their order: "open" when nothing can have been sent, "keep" to stay closed
--           until its time, or what was sent in the last window, as <age in us>*<slots>, each
--           followed by a comma ("," for nothing)
-- A ledger that is open already is left as it is. Returns 1 when something was opened.

local now = clock_us(KEYS[1], ARGV[1])
local lane = lane_at(ARGV[2], 5)
load_quotas(lane, ARGV[3], 5 + LANE_KEYS, now, tonumber(ARGV[4]))
if not lane.state.closed or ARGV[5] ~= "" and ARGV[5] ~= generation then
  save_state(lane)
  return 0
end
for i, quota in ipairs(lane.quotas) do
  local how = ARGV[5 + i]
  local closed = lane.state[quota.opens] > now
  if closed and how ~= "keep" then
    if how ~= "open" then
      local n = 0
      for age_us, slots in string.gmatch(how, "(%d+)%*(%d+),") do
        n = n + 1
        -- Answered at its deadline at the latest.
        local at = now - tonumber(age_us) + tonumber(ARGV[4])
        ledger_hold(lane, i, tonumber(slots), at, "sent:" .. n, now)
      end
    end
    set_state(lane, quota.opens, now)
  end
end
drop_state(lane, "closed")
save_state(lane)
if redis.call("ZSCORE", KEYS[2], lane.name) then
  wants_claim(KEYS[2], KEYS[3], lane, now, now)
end
return 1
