-- Adds to the connections that a user has in a room on all nodes, and tells the members when they
-- begin and when they end. Scripts that call it have the same KEYS 1, 3, 7 and 8.
--
-- Returns  1 joined, -1 left, 0 neither; epoch, number of the notice, connections in all
local function change(user, more, meta, epoch, number)
  local total = redis.call('HINCRBY', KEYS[7], user, more)
  local kind, told
  if total <= 0 then
    redis.call('HDEL', KEYS[7], user)
    meta = redis.call('HGET', KEYS[8], user) or ''
    redis.call('HDEL', KEYS[8], user)
    kind, told = 4, -1
  elseif total == more then
    if meta ~= '' then
      redis.call('HSET', KEYS[8], user, meta)
    end
    kind, told = 3, 1
  else
    return {0, epoch, number, total}
  end
  number = redis.call('HINCRBY', KEYS[1], 'p', 1)
  local body = struct.pack('>Hc0', #user, user) .. meta
  redis.call('SPUBLISH', KEYS[3], head(kind, epoch, number) .. body)
  return {told, epoch, number, math.max(total, 0)}
end
