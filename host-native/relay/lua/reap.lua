-- Removes some users of a dead node from a room. Calls do not depend on each other: any node may
-- make the next one.
--
-- KEYS  1 meta  2 stream  3 topic  4 the dead  5 rooms of the node  6 users of the node in the room
--       7 users of the room  8 their meta  9 and 10 see `change`
-- ARGV  5 incarnation of the node  6 the room as the node's rooms name it  7 users at most
-- Returns  1 when there are more users to remove, else 0; then the users who left the room
if redis.call('SISMEMBER', KEYS[4], ARGV[5]) == 0 then
  return redis.error_reply('ALIVE this node is not among the dead')
end
local epoch, _, number = open(KEYS[1], KEYS[2])
local gone = {0}
for _, user in ipairs(redis.call('HRANDFIELD', KEYS[6], ARGV[7])) do
  local count = tonumber(redis.call('HGET', KEYS[6], user))
  redis.call('HDEL', KEYS[6], user)
  local changed = change(user, -count, '', epoch, number)
  number = changed[3]
  if changed[1] == -1 then
    gone[#gone + 1] = user
  end
end
if redis.call('EXISTS', KEYS[6]) == 1 then
  gone[1] = 1
else
  redis.call('SREM', KEYS[5], ARGV[6])
end
return gone
