-- Idempotency keys that belong to an owner, which has a hash of
--   k<key>     its record: number, expiry time, epoch, offset, fingerprint, attempt
--   n<number>  the key of that number
--   f, l       the numbers of the oldest and of the newest key
--   t          the time from which the next key extends the life of the hash
-- Owners that share a limit for the total of their keys are in two indexes: one by the number of
-- keys, where the empty name has the sum, and one by the end of the hash.
--
-- KEYS  5 owners by number  6 owners by end  7.. hashes of owners, its own first
-- ARGV  12 milliseconds that a key is remembered  14 key  15 name of its owner  16 keys that the
--       owner may have  17 keys that all owners may have, or '' for an owner in no index
--       18 the prefix of the names of hashes
local known, remember, time

-- Nearly all keys have no owner: publishes with those skip the definition of these functions.
if ARGV[14] then
  time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  -- A score is the number of keys, less a fraction for the time of its last change: of owners with
  -- equal numbers, the one unchanged for longest comes first.
  local unit = 2 ^ 42

  -- The fields f, l and t of the owner's own hash, and the number of its outdated record of the
  -- key.
  local first, last, later, ended

  -- Returns  the answer to a repeated publish, by the first record that gives one
  known = function(answer)
    local kept = redis.call('HMGET', KEYS[7], 'k' .. ARGV[14], 'f', 'l', 't')
    first, last, later = tonumber(kept[2]), tonumber(kept[3]), tonumber(kept[4])
    local record = kept[1]
    for i = 7, #KEYS do
      if i > 7 then
        record = redis.call('HGET', KEYS[i], 'k' .. ARGV[14])
      end
      if record then
        local number, ends, epoch, offset, fingerprint, attempt =
          record:match('^(%d+):(%d+):([^:]*):(%d+):(%x*):(.*)$')
        local before = tonumber(ends) > now and answer(epoch, offset, fingerprint, attempt)
        if before then
          return before
        elseif i == 7 then
          ended = number
        end
      end
    end
  end

  -- Forgets the key of a number.
  local function forget(hash, number)
    local field = string.format('n%.0f', number)
    local key = redis.call('HGET', hash, field)
    if key then
      redis.call('HDEL', hash, field, 'k' .. key)
    end
  end

  -- Returns the number of the first key that has not expired, and forgets those before it. It looks
  -- at 32 keys at most.
  local function skip_ended(hash, first, last)
    local upto = math.min(last, first + 31)
    for number = first, upto do
      local key = redis.call('HGET', hash, string.format('n%.0f', number))
      local record = key and redis.call('HGET', hash, 'k' .. key)
      local ends = record and tonumber(record:match('^%d+:(%d+)'))
      if ends and ends > now then
        return number
      end
      forget(hash, number)
    end
    return upto + 1
  end

  -- Records that an owner has `keys` keys, where it had `before`. Returns the sum of all owners.
  local function count(owner, keys, before)
    if keys == 0 then
      redis.call('ZREM', KEYS[5], owner)
    else
      redis.call('ZADD', KEYS[5], string.format('%.0f', keys * unit - now), owner)
    end
    return tonumber(redis.call('ZINCRBY', KEYS[5], keys - before, ''))
  end

  local function counted(owner)
    local score = redis.call('ZSCORE', KEYS[5], owner)
    return score and math.ceil(tonumber(score) / unit) or 0
  end

  -- Forgets keys until all owners together are within their limit: first all keys of owners whose
  -- hashes have expired, then the oldest key of the owner with the most.
  local function shrink(sum)
    for _ = 1, 64 do
      if sum <= tonumber(ARGV[17]) then
        return
      end
      local over = redis.call('ZRANGE', KEYS[6], '-inf', now, 'BYSCORE', 'LIMIT', 0, 1)[1]
      if over then
        redis.call('ZREM', KEYS[6], over)
        sum = count(over, 0, counted(over))
      else
        local most = redis.call('ZRANGE', KEYS[5], 0, 1, 'REV')
        local owner = most[1]
        -- A key that was just added stays.
        if owner == ARGV[15] and counted(owner) == 1 then
          owner = most[2]
        end
        if not owner or owner == '' then
          return
        end
        local keys, hash = counted(owner), ARGV[18] .. owner
        local first = tonumber(redis.call('HGET', hash, 'f'))
        if first then
          forget(hash, first)
          redis.call('HSET', hash, 'f', string.format('%.0f', first + 1))
        end
        sum = count(owner, first and keys - 1 or 0, keys)
      end
    end
  end

  -- Remembers what was published.
  remember = function(text)
    local hash, owner, key = KEYS[7], ARGV[15], ARGV[14]
    local key_ms, counts = tonumber(ARGV[12]), ARGV[17] ~= ''
    local before
    if first then
      before = last - first + 1
    else
      -- There is no hash. It may have expired, and still be counted.
      first, last, later, before = 1, 0, 0, counts and counted(owner) or 0
    end
    if ended then
      redis.call('HDEL', hash, 'n' .. ended)
    end
    last = last + 1
    if last % 16 == 0 then
      first = skip_ended(hash, first, last - 1)
    end
    -- There is more than one to forget after the limit was lowered.
    for _ = 1, 8 do
      if last - first + 1 <= math.max(tonumber(ARGV[16]), 1) then
        break
      end
      forget(hash, first)
      first = first + 1
    end
    local number = string.format('%.0f', last)
    local record = string.format('%s:%.0f:%s', number, now + key_ms, text)
    redis.call('HSET', hash, 'k' .. key, record, 'n' .. number, key, 'l', number, 'f',
      string.format('%.0f', first))
    local keys = last - first + 1
    -- Before the indexes get their lives: the first key of all makes them.
    local sum = counts and keys ~= before and count(owner, keys, before)
    if now >= later then
      -- The hash outlives its newest key, so not every key has to extend it.
      local lives = key_ms + math.ceil(key_ms / 8)
      redis.call('HSET', hash, 't', string.format('%.0f', now + lives - key_ms))
      redis.call('PEXPIRE', hash, lives)
      if counts then
        redis.call('ZADD', KEYS[6], string.format('%.0f', now + lives), owner)
        redis.call('PEXPIRE', KEYS[5], lives)
        redis.call('PEXPIRE', KEYS[6], lives)
      end
    end
    if sum then
      shrink(sum)
    end
  end
end

