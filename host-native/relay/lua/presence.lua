-- Says how many connections of a user a node has in a room. The first one in all nodes is told to
-- the members, and the end of the last one: decided here, so by exactly one caller.
--
-- The number is absolute, so a repeated call changes nothing.
--
-- KEYS  1 meta  2 stream  3 topic  4 leases  5 rooms of the node  6 users of the node in the room
--       7 users of the room  8 their meta
-- ARGV  5 incarnation of the node  6 user  7 connections  8 the room as the node's rooms name it
--       9 meta of the user
-- Returns  1 joined, -1 left, 0 neither; epoch, number of the notice, connections in all

-- A node whose lease was taken away has been removed everywhere. Its writes would be ghosts.
if not redis.call('ZSCORE', KEYS[4], ARGV[5]) then
  return redis.error_reply('FENCED the lease of this node was taken away')
end
local epoch, _, number = open(KEYS[1], KEYS[2])
local user, count = ARGV[6], tonumber(ARGV[7])
local before = tonumber(redis.call('HGET', KEYS[6], user) or 0)
if before == count then
  return {0, epoch, number, tonumber(redis.call('HGET', KEYS[7], user) or 0)}
end
if count > 0 then
  redis.call('HSET', KEYS[6], user, count)
  redis.call('SADD', KEYS[5], ARGV[8])
else
  redis.call('HDEL', KEYS[6], user)
  if redis.call('EXISTS', KEYS[6]) == 0 then
    redis.call('SREM', KEYS[5], ARGV[8])
  end
end
return change(user, count - before, ARGV[9], epoch, number)
