-- Sets the number of connections that a user has in a room on a node. Members are notified of the
-- user's first connection on any node, and of the end of the last. This is decided here, so exactly
-- one caller learns of it. A user who is awaited on the node counts 2^32.
--
-- The count is absolute, so a repeated call changes nothing. Changes are remembered for a while by
-- the numbers of their calls: a later call returns those of earlier calls without an answer.
--
-- KEYS  1 meta  2 stream  3 topic  4 leases  5 rooms of the node  6 users of the node in the room
--       7 users of the room  8 their meta  9 and 10 see `change`; the last one: changes of the user
--       that the node made
-- ARGV  5 incarnation of the node  6 user  7 connections  8 the room as the node's rooms name it
--       9 meta of the user  10 number of the call  11 number of the earliest call without an answer
--       12 milliseconds that a change is remembered
-- Returns  number and change of this call and of those without an answer: 1 joined, -1 left; epoch,
--          number of the last notice, total of connections

-- The users of a node whose lease was taken away are removed everywhere: what it wrote would stay
-- for ever.
if not redis.call('ZSCORE', KEYS[4], ARGV[5]) then
  return redis.error_reply('FENCED the lease of this node was taken away')
end
local epoch, _, number = open(KEYS[1], KEYS[2])
local user, count = ARGV[6], tonumber(ARGV[7])
local before = tonumber(redis.call('HGET', KEYS[6], user) or 0)
local changes, first = {}, tonumber(ARGV[11])
if first < tonumber(ARGV[10]) then
  for call, made in (redis.call('GET', KEYS[#KEYS]) or ''):gmatch('(%d+):(-?%d+),') do
    if tonumber(call) >= first then
      changes[#changes + 1] = tonumber(call)
      changes[#changes + 1] = tonumber(made)
    end
  end
end
if before > 0 or count > 0 then
  renew(user, ARGV[9])
end
if before == count then
  return {changes, epoch, number, tonumber(redis.call('HGET', KEYS[7], user) or 0)}
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
local changed = change(user, count - before, ARGV[9], epoch, number)
if changed[1] ~= 0 then
  changes[#changes + 1] = tonumber(ARGV[10])
  changes[#changes + 1] = changed[1]
  local text = ''
  for i = 1, #changes, 2 do
    text = text .. string.format('%.0f:%d,', changes[i], changes[i + 1])
  end
  redis.call('SET', KEYS[#KEYS], text, 'PX', ARGV[12])
end
changed[1] = changes
return changed
