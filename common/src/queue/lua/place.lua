-- Shared: where a ready job stands in the line of its priority, `<kind>:<arrived, us, 7 bytes><id>`
-- (line.lua).

-- A time as it stands in a place.
local function stamp_of(arrived)
  return struct.pack(">I7", arrived)
end

local function place(id, stamp)
  local colon = string.find(id, ":", 1, true)
  return (colon and string.sub(id, 1, colon) or id .. ":") .. stamp .. id
end

local function leave_line(lane, id, job)
  redis.call("ZREM", lane.key.ready[job.priority], place(id, stamp_of(job.arrived)))
end

-- Scores and places that enter the line of each priority, with one command for a line.
local function enter_lines(lane, entering)
  for priority = 0, 3 do
    if #entering[priority] > 0 then
      redis.call("ZADD", lane.key.ready[priority], unpack(entering[priority]))
    end
  end
end

-- Which of these jobs, as they lie in `jobs`, are leased: ready by that, and in no line. One command a line.
local function find_leased(lane, ids, packed_jobs)
  local places, asked, leased = {}, {}, {}
  for n, packed in ipairs(packed_jobs) do
    local priority = string.byte(packed, PRIORITY_BYTE)
    if string.byte(packed) == READY then
      local its_places = places[priority] or {}
      if not its_places[1] then
        places[priority], asked[priority] = its_places, {}
      end
      local at = #its_places + 1
      its_places[at], asked[priority][at] = place(ids[n], stamp_in(packed)), n
    end
  end
  for priority, its_places in pairs(places) do
    for at, score in ipairs(redis.call("ZMSCORE", lane.key.ready[priority], unpack(its_places))) do
      leased[asked[priority][at]] = not score
    end
  end
  return leased
end
