-- Takes away leases that have ended. The one call that removes a lease is the one that reports it.
--
-- A dead incarnation stays in the set of the dead until all its rooms are cleared, so that another
-- node can continue if this one dies meanwhile.
--
-- KEYS  1 leases  2 the dead  3 nodes
-- ARGV  1 incarnation of the caller  2 'give up' to end the caller's own lease
--       3 milliseconds since 1970: leases that ended earlier are taken away. It is an argument
--       because the server may run a call long after it was sent, from the buffer of a lost
--       connection, and its clock at that moment proves nothing
--       4 leases that end later are returned: a clock was set back since they were renewed, or they
--       are longer than the caller's; 0 for none
--       5.. incarnation and end of each lease that is stale by the caller's own clock
-- Returns  the number of incarnations claimed by this call; up to 16 of the dead; incarnation and
--          end of up to 16 leases that end late
local ended = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[3], 'LIMIT', 0, 16)
for i = 5, #ARGV, 2 do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    ended[#ended + 1] = ARGV[i]
  end
end
if ARGV[2] == 'give up' then
  ended[#ended + 1] = ARGV[1]
end
local claimed = 0
for _, incarnation in ipairs(ended) do
  -- A caller that was frozen since its last heartbeat is still alive, as this call shows.
  local lives = incarnation == ARGV[1] and ARGV[2] ~= 'give up'
  if not lives and redis.call('ZREM', KEYS[1], incarnation) == 1 then
    redis.call('SADD', KEYS[2], incarnation)
    redis.call('HDEL', KEYS[3], incarnation)
    claimed = claimed + 1
  end
end
local late = {}
if ARGV[4] ~= '0' then
  late = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[4], '+inf', 'WITHSCORES', 'LIMIT', 0, 16)
end
return {claimed, redis.call('SRANDMEMBER', KEYS[2], 16), late}
