-- Reads the position of a room and messages of its stream in one step, so that later deliveries
-- follow without a gap.
--
-- KEYS  1 meta  2 stream
-- ARGV  5 'after', 'before', or '' for the position alone  6 the reader's epoch  7 its offset
--       8 messages at most  9 bytes at most: the message that exceeds them is the last
-- Returns  epoch, offset, number of the last presence notice, time of the server in milliseconds,
--          offset of the oldest message; offset, time and body of each message
local epoch, offset, number = open(KEYS[1], KEYS[2])
local time = redis.call('TIME')
local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
local first = oldest and tonumber(oldest[1]:match('^%d+')) or offset + 1
local found = {epoch, offset, number, time[1] * 1000 + math.floor(time[2] / 1000), first}
if ARGV[5] == '' or (ARGV[6] ~= '' and ARGV[6] ~= epoch) then
  return found
end
local command, from, to = 'XRANGE', string.format('%.0f', ARGV[7] + 1), '+'
local left, bytes, bytes_max = tonumber(ARGV[8]), 0, tonumber(ARGV[9])
if ARGV[5] == 'before' then
  command, from, to = 'XREVRANGE', string.format('%.0f', math.max(ARGV[7] - 1, 0)), '-'
end
-- Reads in steps that double, so that few bodies beyond the limit are read in vain.
local step = 1
while left > 0 and bytes < bytes_max do
  local count = math.min(step, left)
  local entries = redis.call(command, KEYS[2], from, to, 'COUNT', count)
  for _, entry in ipairs(entries) do
    if bytes >= bytes_max then
      break
    end
    local fields = entry[2]
    found[#found + 1] = tonumber(entry[1]:match('^%d+'))
    found[#found + 1] = tonumber(fields[2])
    found[#found + 1] = fields[4]
    from, bytes = '(' .. entry[1], bytes + #fields[4]
  end
  left = #entries == count and left - count or 0
  step = math.min(2 * step, 64)
end
return found
