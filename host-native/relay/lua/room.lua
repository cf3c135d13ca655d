-- Functions that every script of a room begins with.
--
-- A room has a meta, a hash of
--   e  the epoch, under which each offset is given out once
--   o  the offset of the last message, 0 before the first
--   p  the number of the last presence notice
--   c  connections of all users, as soon as somebody wanted to know
--   b  bytes of the bodies in the stream, as long as there is one
--   l  the lineage of the data that all of this belongs to
--   k  milliseconds that it is kept when nobody touches it, where something wants longer than usual
--   v  when no node has members of the room: then it ends with its time, whoever looks at it
--
-- ARGV of these scripts begins with
--   1  the lineage that the node has read
--   2  'ask' to read the lineage here: no older answer of the node counts then; 'compare' to do so
--      where the room's is another one
--   3  an epoch that nobody has used, for the case that a new one must begin
--   4  milliseconds that a meta is kept when nobody touches it, once a message was there

-- The lineage, once it was read here.
local here

-- A user who is awaited on a node counts so much there: above all connections.
local awaited = 4294967296

-- A replica that was promoted too early has an older offset, and would give out offsets again
-- under the same epoch. Its lineage is another one, so a new epoch begins. Offsets go on, and the
-- stream stays: nobody has a position of the new epoch that is below them, so nobody is told that
-- nothing is missing, and what the stream has is still a history.
--
-- The name of an epoch begins with that of the one in which the offsets began at 0. Without a meta
-- nothing is known of a stream. So it outlives the stream, and records of keys, for which a publish
-- wants it to be kept for so many milliseconds. In a room that never had one nobody has a position
-- to come back to: nodes with members touch it each minute, and to all others a new epoch is the
-- same. So its meta ends sooner, also since any client can make up names.
local function open(meta, stream, wanted, has_stream)
  local kept = redis.call('HMGET', meta, 'e', 'o', 'p', 'l', 'b', 'k', 'v')
  local lineage = ARGV[1]
  -- One that differs is not always newer: this node may not have read the latest one yet.
  if ARGV[2] == 'ask' or (ARGV[2] == 'compare' and kept[4] ~= lineage) then
    here = here or redis.call('INFO', 'replication'):match('master_replid:(%w+)')
    lineage = here
  end
  local epoch, offset, number = kept[1], tonumber(kept[2] or 0), tonumber(kept[3] or 0)
  local bytes = tonumber(kept[5] or 0)
  if not epoch then
    epoch = ARGV[3]
    redis.call('HSET', meta, 'e', epoch, 'o', 0, 'p', 0, 'l', lineage)
    redis.call('DEL', stream)
  elseif kept[4] ~= lineage then
    epoch = epoch:match('^[^.]*') .. '.' .. ARGV[3]
    redis.call('HSET', meta, 'e', epoch, 'l', lineage)
  end
  if not kept[7] then
    local keeps = tonumber(ARGV[4])
    if offset == 0 and not wanted then
      -- Nothing was said.
      keeps = math.min(keeps, 600000)
    elseif not (kept[5] or has_stream) then
      keeps = math.min(keeps, 3600000)
    end
    keeps = math.max(keeps, tonumber(kept[6] or 0))
    if wanted and wanted > keeps then
      keeps = wanted
      redis.call('HSET', meta, 'k', string.format('%.0f', keeps))
    end
    redis.call('PEXPIRE', meta, string.format('%.0f', keeps))
  end
  return epoch, offset, number, bytes, kept[7]
end

-- Puts a room into the index. Two others, at random, leave it if they have ended: so at most about
-- half of it are such.
local function list(index, meta)
  for _, other in ipairs(redis.call('ZRANDMEMBER', index, 2)) do
    if redis.call('EXISTS', other) == 0 then
      redis.call('ZREM', index, other)
    end
  end
  redis.call('ZADD', index, 0, meta)
end

-- The head of everything that is published: version, kind, epoch, number. The rest is opaque here.
local function head(kind, epoch, number)
  return struct.pack('>BBBc0I8', 1, kind, #epoch, epoch, number)
end
