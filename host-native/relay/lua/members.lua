-- Lists the users of a room, and the number of the last notice that the list includes: later
-- notices change it. Above a limit nobody is listed, so that no room takes long.
--
-- KEYS  1 meta  2 stream  3 users of the room  4 their meta
-- ARGV  5 users at most
-- Returns  epoch, number, total of users, total of their connections; then user, connections and
--          meta of each
local epoch, _, number = open(KEYS[1], KEYS[2])
local total, connections = redis.call('HLEN', KEYS[3]), redis.call('HGET', KEYS[1], 'c')
if not connections then
  -- Counted once in the life of a meta: from here on `change` maintains the sum.
  connections = 0
  for _, count in ipairs(redis.call('HVALS', KEYS[3])) do
    connections = connections + count % awaited
  end
  redis.call('HSET', KEYS[1], 'c', string.format('%.0f', connections))
end
local found = {epoch, number, total, tonumber(connections)}
if total > tonumber(ARGV[5]) then
  return found
end
local metas, shown = redis.call('HGETALL', KEYS[4]), {}
for i = 1, #metas, 2 do
  shown[metas[i]] = metas[i + 1]
end
local all = redis.call('HGETALL', KEYS[3])
for i = 1, #all, 2 do
  found[#found + 1] = all[i]
  found[#found + 1] = all[i + 1] % awaited
  found[#found + 1] = shown[all[i]] or ''
end
return found
