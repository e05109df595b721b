-- KEYS  1 hash of arguments
-- ARGV  ids
for i = 1, #ARGV do
  redis.call("HDEL", KEYS[1], ARGV[i])
end
