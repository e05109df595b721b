-- KEYS  1 zset of what waits  2 hash of arguments
-- ARGV  1 how many
-- Returns ids and arguments in turn.
local jobs = {}
local popped = redis.call("ZPOPMIN", KEYS[1], ARGV[1])
for i = 1, #popped, 2 do
  jobs[#jobs + 1] = popped[i]
  jobs[#jobs + 1] = redis.call("HGET", KEYS[2], popped[i])
end
return jobs
