-- Shared: which server and index a call means, the shard's clock, and its fences. All times are
-- microseconds since the Unix epoch.

-- The age of the shard's index: when this server met it first. Grows, also across a loss. What a
-- lane knows of its quotas from an earlier age is not believed (quota.lua).
local generation

-- The last fence that was handed out.
local last_fence

-- A whole number as text, exactly: numbers above 10^14 lose digits in Lua's own conversion, and
-- printing them as what they are is several times faster.
local format = string.format
local function digits(number)
  return format("%d", number)
end

-- `index_and_time` is the first argument of every script: which index the caller means (the run id of
-- the server behind its connection, the number of shards, the form of what lies in it). Only tests give a time, behind a space.
-- The time is never earlier than any time before: a server whose clock is set back stands still until it
-- has caught up.
--
-- An index that knows another server was made on that one. This is a copy of it, which may lack
-- the last writes, or nothing at all is known: a new generation begins, without an epoch.
local function clock_us(shard, index_and_time)
  local index, now = index_and_time, nil
  if string.find(index_and_time, " ", 1, true) then
    index, now = string.match(index_and_time, "^(%S+) (%d+)$")
    now = tonumber(now)
  else
    local time = redis.call("TIME")
    now = time[1] * 1000000 + time[2]
  end
  local known = redis.call("HMGET", shard, "clock", "index", "generation", "fence")
  local last = tonumber(known[1] or 0)
  if now <= last then
    now = last
  else
    redis.call("HSET", shard, "clock", digits(now))
  end
  generation, last_fence = known[3], tonumber(known[4] or 0)
  if known[2] ~= index then
    generation = digits(math.max(now, tonumber(generation or 0) + 1))
    redis.call("HSET", shard, "index", index, "generation", generation)
    redis.call("HDEL", shard, "epoch")
  end
  return now
end

-- The next fence: grows by one at least, and is never below the clock, so that it goes on growing
-- when this Redis lost the last one.
local function next_fence(now)
  last_fence = math.max(last_fence + 1, now)
  return last_fence
end

-- After the last one that a script hands out.
local function save_fence(shard)
  redis.call("HSET", shard, "fence", digits(last_fence))
end
