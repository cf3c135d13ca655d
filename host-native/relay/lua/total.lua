-- Lets a room without members on any node expire after its time. It is listed until then.
local function vacate(age)
  local offset = redis.call('HGET', KEYS[9], 'o')
  if not offset then
    return
  end
  if offset == '0' then
    -- There was no message: little is worth remembering.
    age = math.min(age, 60000)
  end
  redis.call('HSET', KEYS[9], 'v', 1)
  redis.call('PEXPIRE', KEYS[9], age)
  list(KEYS[10], KEYS[9])
end

-- Scripts that call these have the same KEYS 1, 3, 7 and 8. KEYS 9 and 10 are there for a room
-- whose name begins with U+0001: meta and index of the room that it counts the nodes of, which is
-- remembered for the milliseconds in the meta of the user, if any.

-- Keeps for how long a room is remembered, as the node says that spoke last: policies change while
-- there are members. The meta of other users is that of their first connection.
local function renew(user, meta)
  if not KEYS[10] then
    return
  end
  if meta ~= '' then
    redis.call('HSET', KEYS[8], user, meta)
  else
    redis.call('HDEL', KEYS[8], user)
  end
end

-- Adds connections of a user to a room's total, and tells members of the first and of the end of
-- the last.
--
-- Returns  1 joined, -1 left, 0 neither; epoch, number of the notice, connections in all
local function change(user, more, meta, epoch, number)
  local total = redis.call('HINCRBY', KEYS[7], user, more)
  local before, after = math.max(total - more, 0) % awaited, math.max(total, 0) % awaited
  if before ~= after and redis.call('HEXISTS', KEYS[1], 'c') == 1 then
    redis.call('HINCRBY', KEYS[1], 'c', after - before)
  end
  local kind, told
  if total <= 0 then
    redis.call('HDEL', KEYS[7], user)
    meta = redis.call('HGET', KEYS[8], user) or ''
    redis.call('HDEL', KEYS[8], user)
    kind, told = 4, -1
    if KEYS[10] and meta ~= '' then
      vacate(tonumber(meta))
    end
  elseif total == more then
    if meta ~= '' then
      redis.call('HSET', KEYS[8], user, meta)
    end
    kind, told = 3, 1
    if KEYS[10] and redis.call('HDEL', KEYS[9], 'v') == 1 then
      redis.call('PEXPIRE', KEYS[9], ARGV[4])
    end
  else
    return {0, epoch, number, total}
  end
  number = redis.call('HINCRBY', KEYS[1], 'p', 1)
  local body = struct.pack('>Hc0', #user, user) .. meta
  redis.call('SPUBLISH', KEYS[3], head(kind, epoch, number) .. body)
  return {told, epoch, number, math.max(total, 0)}
end
