-- Replaces the users that a node has in a room by those given, in one step: a change that the node
-- makes comes wholly before or after it, so a correction never undoes a change.
--
-- KEYS  as of the script for one user
-- ARGV  5 incarnation of the node  6 the room as the node's rooms name it
--       7.. user, connections and meta of each
-- Returns  the number of corrections; user and change of each that shows over all nodes: 1 joined,
--          -1 left
if not redis.call('ZSCORE', KEYS[4], ARGV[5]) then
  return redis.error_reply('FENCED the lease of this node was taken away')
end
local epoch, _, number = open(KEYS[1], KEYS[2])
local kept, users, corrections = {}, redis.call('HGETALL', KEYS[6]), 0
local changes = {}
for i = 1, #users, 2 do
  kept[users[i]] = tonumber(users[i + 1])
end
if #ARGV > 6 then
  redis.call('SADD', KEYS[5], ARGV[6])
end
local function correct(user, count, meta)
  local before = kept[user] or 0
  kept[user] = nil
  if before == count then
    return
  end
  if count > 0 then
    redis.call('HSET', KEYS[6], user, count)
  else
    redis.call('HDEL', KEYS[6], user)
  end
  local changed = change(user, count - before, meta, epoch, number)
  number = changed[3]
  corrections = corrections + 1
  if changed[1] ~= 0 then
    changes[#changes + 1] = {user, changed[1]}
  end
end
for i = 7, #ARGV, 3 do
  if ARGV[i + 1] ~= '0' or kept[ARGV[i]] then
    renew(ARGV[i], ARGV[i + 2])
  end
  correct(ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2])
end
-- Sorted, so that the notices have a defined order.
local gone = {}
for user in pairs(kept) do
  gone[#gone + 1] = user
end
table.sort(gone)
for _, user in ipairs(gone) do
  correct(user, 0, '')
end
if redis.call('EXISTS', KEYS[6]) == 0 then
  redis.call('SREM', KEYS[5], ARGV[6])
end
return {corrections, changes}
