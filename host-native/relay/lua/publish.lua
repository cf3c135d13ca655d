-- Gives a message its offset, keeps it, and publishes it: one step, so one order on all nodes.
--
-- KEYS  1 meta  2 stream  3 topic  4.. records of idempotency keys, the own one first
-- ARGV  5 kind  6 body  7 messages that the stream keeps  8 milliseconds that it keeps them
--       9 bytes of their bodies, 0 for any  10 entries that are taken away at most
--       11 print of the message  12 milliseconds that a record is kept
-- Returns  epoch, offset, 1 when the message had been published before

-- A retry gets the answer of the first attempt. Only the own record is ever written.
for i = 4, #KEYS do
  local record = redis.call('GET', KEYS[i])
  if record then
    local epoch, offset, print = record:match('^([^:]*):(%d+):(.*)$')
    if print ~= ARGV[11] then
      return redis.error_reply('KEYREUSED the key belongs to another message')
    end
    return {epoch, tonumber(offset), 1}
  end
end

-- Finds how many entries stay, so that with the new one the stream is within its limits.
--
-- Returns  their number and their bytes
local function staying(bytes)
  local entries_max, bytes_max = tonumber(ARGV[7]), tonumber(ARGV[9])
  local number, left, step, from = redis.call('XLEN', KEYS[2]), tonumber(ARGV[10]), 1, '-'
  -- A stream that ended with its time took its bytes along.
  bytes = number > 0 and bytes or 0
  local function exceeds()
    return number >= entries_max or (bytes_max > 0 and bytes + #ARGV[6] > bytes_max)
  end
  while number > 0 and left > 0 and exceeds() do
    local count = math.min(step, left)
    for _, entry in ipairs(redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', count)) do
      if not exceeds() then
        break
      end
      from, number, left = '(' .. entry[1], number - 1, left - 1
      bytes = bytes - #entry[2][4]
    end
    -- Nearly always one entry goes. Many at once would be read in vain.
    step = math.min(2 * step, 64)
  end
  return number, bytes
end

local epoch, offset, _, bytes = open(KEYS[1], KEYS[2])
local id = string.format('%.0f', offset + 1)
if ARGV[7] == '0' then
  redis.call('HSET', KEYS[1], 'o', id)
else
  local number
  number, bytes = staying(bytes)
  redis.call('HSET', KEYS[1], 'o', id, 'b', string.format('%.0f', bytes + #ARGV[6]))
  if number == 0 and ARGV[9] ~= '0' and #ARGV[6] > tonumber(ARGV[9]) then
    redis.call('DEL', KEYS[2])
  else
    local time = redis.call('TIME')
    -- The offset is the id of the entry: a read by offset is a seek. Format: a double has no place
    -- for milliseconds in its short form.
    local at = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
    redis.call('XADD', KEYS[2], 'MAXLEN', number + 1, id .. '-1', 't', at, 'b', ARGV[6])
  end
  -- A room that falls silent keeps nothing; older entries of a busy one are left out by readers.
  if ARGV[8] ~= '0' then
    redis.call('PEXPIRE', KEYS[2], ARGV[8])
  end
end
if KEYS[4] then
  redis.call('SET', KEYS[4], epoch .. ':' .. id .. ':' .. ARGV[11], 'PX', ARGV[12])
end
redis.call('SPUBLISH', KEYS[3], head(tonumber(ARGV[5]), epoch, offset + 1) .. ARGV[6])
return {epoch, offset + 1, 0}
