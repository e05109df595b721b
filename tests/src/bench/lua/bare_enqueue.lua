-- The least that a queue can do: a sorted set of ids and a hash of arguments.
--
-- KEYS  1 zset of what waits  2 hash of arguments
-- ARGV  per job: id, arguments
for i = 1, #ARGV, 2 do
  redis.call("ZADD", KEYS[1], i, ARGV[i])
  redis.call("HSET", KEYS[2], ARGV[i], ARGV[i + 1])
end
