-- Takes serials of connections in a row that no other node has.
--
-- A replica that was promoted has an older counter, and nodes may still be to tell it what they
-- took since. In data of another lineage than last time it therefore begins some blocks later.
--
-- KEYS  1 the counter  2 its lineage
-- ARGV  1 the serial above all that the node has  2 how many  3 the lineage that the node has read
-- Returns  the first
local behind = 0
if redis.call('GET', KEYS[2]) ~= ARGV[3] then
  -- Blocks that all nodes together took while the replica was behind, at most.
  behind = redis.call('EXISTS', KEYS[1]) * 32 * ARGV[2]
  redis.call('SET', KEYS[2], ARGV[3])
end
local first = next_serial(KEYS[1], tonumber(ARGV[1])) + behind
set_next_serial(KEYS[1], first + ARGV[2])
return first
