-- Takes a block of connection serials that no other node has.
--
-- A replica that was promoted has an older counter, and nodes may not have reported yet what they
-- took since. So when the lineage of the data has changed, the counter skips some blocks.
--
-- KEYS  1 the counter  2 its lineage
-- ARGV  1 the serial above all that the node has  2 serials to take  3 the lineage that the node
--       has read
-- Returns  the first serial of the block
local behind = 0
if redis.call('GET', KEYS[2]) ~= ARGV[3] then
  -- At most 32 blocks are assumed to have been taken while the replica was behind.
  behind = redis.call('EXISTS', KEYS[1]) * 32 * ARGV[2]
  redis.call('SET', KEYS[2], ARGV[3])
end
local first = next_serial(KEYS[1], tonumber(ARGV[1])) + behind
set_next_serial(KEYS[1], first + ARGV[2])
return first
