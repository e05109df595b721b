-- Whether the shard's index is complete; says so when asked to.
--
-- KEYS  1 shard
-- ARGV  1 index and time (clock.lua)
--       2 name of the epoch that begins, or "" to ask only
--       3 generation in which everything was enqueued again
-- Returns { generation, epoch, or "" while the index is incomplete }.

clock_us(KEYS[1], ARGV[1])
if ARGV[2] ~= "" and ARGV[3] == generation then
  redis.call("HSETNX", KEYS[1], "epoch", ARGV[2])
end
return { generation, redis.call("HGET", KEYS[1], "epoch") or "" }
