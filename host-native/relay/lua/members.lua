-- A page of the users of a room, with the number of the last notice before it: later notices are
-- what changes.
--
-- KEYS  1 meta  2 stream  3 users of the room  4 their meta
-- ARGV  5 users at most
-- Returns  epoch, number, users in all, their connections; then user, connections and meta of each
local epoch, _, number = open(KEYS[1], KEYS[2])
local all, connections = redis.call('HGETALL', KEYS[3]), 0
for i = 2, #all, 2 do
  connections = connections + all[i]
end
local found = {epoch, number, #all / 2, connections}
for i = 1, math.min(#all, 2 * tonumber(ARGV[5])), 2 do
  found[#found + 1] = all[i]
  found[#found + 1] = tonumber(all[i + 1])
  found[#found + 1] = redis.call('HGET', KEYS[4], all[i]) or ''
end
return found
