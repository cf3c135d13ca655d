-- Registers a node, or renews its lease, by the server's clock: nodes need no common clock.
--
-- KEYS  1 leases  2 nodes  3 the counter of serials
-- ARGV  1 incarnation  2 milliseconds of the lease  3 'register', 'renew', or 'last' to renew it a
--       last time and unlist the incarnation: its users may be back under another one by the end
--       4 data of the node about itself  5 the serial above all that the node was given
-- Returns  milliseconds since 1970, or 0 when there is no lease to renew: the node must register
--          again, under another id
if ARGV[3] ~= 'register' and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
if ARGV[3] == 'last' then
  redis.call('HDEL', KEYS[2], ARGV[1])
else
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
end
local serials_end = tonumber(ARGV[5])
if serials_end > tonumber(redis.call('GET', KEYS[3]) or 0) then
  set_next_serial(KEYS[3], next_serial(KEYS[3], serials_end))
end
return now
