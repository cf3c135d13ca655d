-- Takes away leases that have ended. The one call that removes a lease is the one that reports it.
--
-- A dead incarnation stays in the set of the dead until all its rooms are cleared, so that another
-- node goes on when this one dies meanwhile.
--
-- KEYS  1 leases  2 the dead  3 nodes
-- ARGV  1 incarnation of the caller  2 'give up' when its own lease is to end
-- Returns  incarnations claimed by this call; up to 16 of the dead
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local ended = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now, 'LIMIT', 0, 16)
if ARGV[2] == 'give up' then
  ended[#ended + 1] = ARGV[1]
end
local claimed = 0
for _, incarnation in ipairs(ended) do
  -- A node that stood still since its last heartbeat lives all the same, as this call shows.
  local lives = incarnation == ARGV[1] and ARGV[2] ~= 'give up'
  if not lives and redis.call('ZREM', KEYS[1], incarnation) == 1 then
    redis.call('SADD', KEYS[2], incarnation)
    redis.call('HDEL', KEYS[3], incarnation)
    claimed = claimed + 1
  end
end
return {claimed, redis.call('SRANDMEMBER', KEYS[2], 16)}
