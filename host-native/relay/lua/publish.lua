-- Gives a message its offset, keeps it, and publishes it: one step, so one order on all nodes.
--
-- KEYS  1 meta  2 stream  3 topic  4 index of rooms that have a stream or are remembered
--       5 the record of an idempotency key without an owner; for a key with one, see `once.lua`
-- ARGV  5 kind, 1 for a room  6 body  7 messages that the stream keeps  8 milliseconds that it
--       keeps them  9 bytes of their bodies, 0 for no limit  10 entries that are removed at most
--       11 fingerprint of the message  12 milliseconds that a record is kept
--       13 id of the publish, which only its retries share  14.. see `once.lua`
-- Returns  epoch:offset:repeated, where `repeated` is 1 if the message had been published before
--          under another id: one text is parsed faster than three values

-- Finds how many entries may stay so that the stream is within its limits with the new one.
--
-- Returns  their number and their bytes
local function staying(number, bytes)
  local entries_max, bytes_max = tonumber(ARGV[7]), tonumber(ARGV[9])
  local left, step, from = tonumber(ARGV[10]), 1, '-'
  -- The bytes of an expired stream do not count.
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
    -- Nearly always a single entry goes: more would be read in vain.
    step = math.min(2 * step, 64)
  end
  return number, bytes
end

local wanted = math.max(tonumber(ARGV[8]), tonumber(ARGV[12] or 0))
local epoch, offset, _, bytes, is_vacant = open(KEYS[1], KEYS[2], wanted, ARGV[7] ~= '0')

-- Returns the answer to a retry, by the record of the first attempt; nil when the message may be
-- lost. That is so in an epoch that continues the record's where the stream lacks the message:
-- members may lack it too, and were told of a gap before this answer. A room with an entirely new
-- epoch had expired, and nothing was lost.
local function answer(of, at, fingerprint, attempt)
  if fingerprint ~= ARGV[11] then
    return redis.error_reply('KEYREUSED the key belongs to another message')
  end
  if of ~= epoch and of:match('^[^.]*') == epoch:match('^[^.]*') then
    local id = at .. '-1'
    if #redis.call('XRANGE', KEYS[2], id, id) == 0 then
      return nil
    end
    of = epoch
  end
  -- An attempt of this same publish was never answered, so nobody knows of it yet.
  local is_own = attempt ~= '' and attempt == ARGV[13]
  return of .. ':' .. at .. (is_own and ':0' or ':1')
end

local before
if known then
  before = known(answer)
elseif KEYS[5] then
  local record = redis.call('GET', KEYS[5])
  if record then
    before = answer(record:match('^([^:]*):(%d+):(%x*):?(.*)$'))
  end
end
if before then
  return before
end

local id = string.format('%.0f', offset + 1)
if ARGV[7] == '0' then
  redis.call('HSET', KEYS[1], 'o', id)
else
  local number = redis.call('XLEN', KEYS[2])
  if number == 0 and ARGV[5] == '1' then
    list(KEYS[4], KEYS[1])
  end
  number, bytes = staying(number, bytes)
  redis.call('HSET', KEYS[1], 'o', id, 'b', string.format('%.0f', bytes + #ARGV[6]))
  if number == 0 and ARGV[9] ~= '0' and #ARGV[6] > tonumber(ARGV[9]) then
    redis.call('DEL', KEYS[2])
  else
    local time = time or redis.call('TIME')
    -- The offset is the id of the entry, so a read by offset is a seek. A plain number as an
    -- argument may be written with an exponent.
    local at = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
    redis.call('XADD', KEYS[2], 'MAXLEN', number + 1, id .. '-1', 't', at, 'b', ARGV[6])
  end
  -- The stream of a silent room expires as a whole; in a busy room, readers skip entries that are
  -- too old.
  if ARGV[8] ~= '0' then
    redis.call('PEXPIRE', KEYS[2], ARGV[8])
    if is_vacant then
      redis.call('PEXPIRE', KEYS[1], ARGV[8])
    end
  end
end
if KEYS[5] then
  local record = epoch .. ':' .. id .. ':' .. ARGV[11] .. ':' .. ARGV[13]
  if remember then
    remember(record)
  else
    redis.call('SET', KEYS[5], record, 'PX', ARGV[12])
  end
end
redis.call('SPUBLISH', KEYS[3], head(tonumber(ARGV[5]), epoch, offset + 1) .. ARGV[6])
return epoch .. ':' .. id .. ':0'
