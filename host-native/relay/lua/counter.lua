-- The counter of serials of connections, each given out once: each node takes blocks of them. It
-- only rises, so that two serials can be compared. Ids have their remainder by 2^33: they begin
-- again, and the counter does not.
--
-- A server that lost its data lost the counter too, and nodes still have what they took from it.
-- Each tells it, with its lease, the serial above all of its own: the counter is raised to that.
-- A node that has not done so yet, or is away, may have others. So a new counter begins at random,
-- within 2^30 serials, an eighth of all ids: it comes upon a given block of 65,536 in one of some
-- ten thousand losses.

-- Returns the next serial, which is the floor or above.
local function next_serial(key, floor)
  local found = redis.call('GET', key)
  if found then
    return math.max(tonumber(found), floor)
  end
  local time = redis.call('TIME')
  local random = (time[1] * 1000000 + time[2]) % 65536 / 65536
  return floor + math.floor(2 ^ 30 * random)
end

-- Sets the serial at which the counter continues.
local function set_next_serial(key, serial)
  redis.call('SET', key, string.format('%.0f', serial))
end
