-- Reads the positions of many rooms, after an outage and once a minute. It also keeps their metas
-- alive.
--
-- KEYS  meta and stream of each room
-- Returns  epoch, offset and number of the last presence notice of each room
local found = {}
for i = 1, #KEYS, 2 do
  local epoch, offset, number = open(KEYS[i], KEYS[i + 1])
  found[#found + 1] = epoch
  found[#found + 1] = offset
  found[#found + 1] = number
end
return found
