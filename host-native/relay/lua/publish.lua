-- Gives a message its offset, keeps it, and publishes it: one step, so one order on all nodes.
--
-- KEYS  1 meta  2 stream  3 topic  4.. records of idempotency keys, the own one first
-- ARGV  5 kind  6 body  7 messages that the stream keeps  8 milliseconds that it keeps them
--       9 print of the message  10 milliseconds that a record is kept
-- Returns  epoch, offset, 1 when the message had been published before

-- A retry gets the answer of the first attempt. Only the own record is ever written.
for i = 4, #KEYS do
  local record = redis.call('GET', KEYS[i])
  if record then
    local epoch, offset, print = record:match('^([^:]*):(%d+):(.*)$')
    if print ~= ARGV[9] then
      return redis.error_reply('KEYREUSED the key belongs to another message')
    end
    return {epoch, tonumber(offset), 1}
  end
end

local epoch = open(KEYS[1], KEYS[2])
local offset = redis.call('HINCRBY', KEYS[1], 'o', 1)
if ARGV[7] ~= '0' then
  local time = redis.call('TIME')
  -- The offset is the id of the entry: a read by offset is a seek. Format: a double has no place
  -- for milliseconds in its short form.
  local at = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[7], string.format('%.0f-1', offset), 't', at, 'b', ARGV[6])
  -- A room that falls silent keeps nothing; older entries of a busy one are left out by readers.
  if ARGV[8] ~= '0' then
    redis.call('PEXPIRE', KEYS[2], ARGV[8])
  end
end
if KEYS[4] then
  redis.call('SET', KEYS[4], string.format('%s:%.0f:%s', epoch, offset, ARGV[9]), 'PX', ARGV[10])
end
redis.call('SPUBLISH', KEYS[3], head(tonumber(ARGV[5]), epoch, offset) .. ARGV[6])
return {epoch, offset, 0}
