-- A page of the users of a room, with the number of the last notice before it: later notices are
-- what changes.
--
-- KEYS  1 meta  2 stream  3 users of the room  4 their meta
-- ARGV  5 users at most
-- Returns  epoch, number, users in all, then user, connections and meta of each
local epoch, _, number = open(KEYS[1], KEYS[2])
local found = {epoch, number, redis.call('HLEN', KEYS[3])}
local all = redis.call('HGETALL', KEYS[3])
for i = 1, math.min(#all, 2 * tonumber(ARGV[5])), 2 do
  found[#found + 1] = all[i]
  found[#found + 1] = tonumber(all[i + 1])
  found[#found + 1] = redis.call('HGET', KEYS[4], all[i]) or ''
end
return found
