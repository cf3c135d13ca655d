-- Takes numbers in a row that no other node has.
--
-- KEYS  1 the counter
-- ARGV  1 the number above all that the node has  2 how many
-- Returns  the first
local first = next_number(KEYS[1], tonumber(ARGV[1]))
set_next_number(KEYS[1], first + ARGV[2])
return first
