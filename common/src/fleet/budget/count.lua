-- Count an answer that a platform counts towards a ban, and say how many there were in its window.
-- Counts are kept in steps of a sixtieth of the window, so a step too many counts, never one too few.
--
-- KEYS  1 hash: step -> count; `told` -> when somebody was last told to act, s
-- ARGV  1 window, us  2 mark: from so many on somebody acts  3 "count" to add one, "look" to add none
-- Returns { count in the window, us until it is below the mark or 0, 1 if the caller is to act }

local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local window, mark = tonumber(ARGV[1]), tonumber(ARGV[2])
local step = math.ceil(window / 60)
local current = math.floor(now / step)

if ARGV[3] == "count" then
  local counted = tonumber(redis.call("HGET", KEYS[1], current) or 0)
  redis.call("HSET", KEYS[1], current, counted + 1)
end

local steps, sum = {}, 0
local fields = redis.call("HGETALL", KEYS[1])
for i = 1, #fields, 2 do
  local at = tonumber(fields[i])
  if at and (at + 1) * step <= now - window then
    redis.call("HDEL", KEYS[1], fields[i])
  elseif at then
    steps[#steps + 1] = { at, tonumber(fields[i + 1]) }
    sum = sum + tonumber(fields[i + 1])
  end
end

-- It is below the mark once the oldest have left the window.
table.sort(steps, function(a, b) return a[1] < b[1] end)
local left, wait = sum, 0
for _, each in ipairs(steps) do
  if left < mark then break end
  left = left - each[2]
  wait = (each[1] + 1) * step + window - now
end

-- One of those who run into it at once is enough; if that one dies, another is told soon.
local act = 0
if wait > 0 and ARGV[3] == "count" then
  local told = tonumber(redis.call("HGET", KEYS[1], "told") or 0)
  if tonumber(time[1]) - told >= 5 then
    redis.call("HSET", KEYS[1], "told", time[1])
    act = 1
  end
end
return { sum, wait, act }
