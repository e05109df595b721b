-- Shared: where a ready job stands in the line of its priority, `<kind>:<arrived, us, 7 bytes><id>`
-- (line.lua).

-- A time as it stands in a place.
local function stamp_of(arrived)
  return struct.pack(">I7", arrived)
end

local function place(id, stamp)
  return kind_of(id) .. ":" .. stamp .. id
end

local function leave_line(lane, id, job)
  redis.call("ZREM", lane.key.ready[job[PRIORITY]], place(id, stamp_of(job[ARRIVED])))
end

-- Scores and places that enter the line of each priority, with one command for a line.
local function enter_lines(lane, entering)
  for priority = 0, 3 do
    if #entering[priority] > 0 then
      redis.call("ZADD", lane.key.ready[priority], unpack(entering[priority]))
    end
  end
end
