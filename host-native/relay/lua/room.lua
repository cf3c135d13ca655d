-- Functions that every script of a room begins with.
--
-- A room has a meta, a hash of
--   e  the epoch, under which each offset is given out once
--   o  the offset of the last message, 0 before the first
--   p  the number of the last presence notice
--   c  connections of all users; set when somebody first asks for them
--   b  bytes of the bodies in the stream, while there is one
--   l  the lineage of the data that all of this belongs to
--   k  milliseconds that the meta is kept when nobody touches it, where that is longer than usual
--   v  set when no node has members of the room: it then expires even if somebody reads it
--
-- ARGV of these scripts begins with
--   1  the lineage that the node has read
--   2  'ask' to read the lineage here, and ignore 1; 'compare' to do so where the room's lineage
--      differs from 1
--   3  an unused name for an epoch, in case a new one must begin
--   4  milliseconds that a meta is kept when nobody touches it, after the first message

-- The lineage, after a script has read it.
local here

-- The weight of a user who is awaited on a node, above any number of connections.
local awaited = 4294967296

-- Opens a room: reads its meta, and begins an epoch where one is due.
--
-- A replica that was promoted too early has an older offset, and would give out the same offsets
-- again under the same epoch. Its lineage differs, so a new epoch begins. Offsets continue, and the
-- stream stays. No reader has a position in the new epoch below these offsets, so nobody is wrongly
-- told that nothing is missing, and the stream is still a history.
--
-- The name of an epoch begins with the name of the epoch in which the offsets began at 0. A stream
-- without a meta is useless. So the meta outlives the stream and the records of keys: `wanted` is
-- the number of milliseconds for which a publish needs it. In a room that never had one nobody has a position
-- to come back to: nodes with members touch it each minute, and to all others a new epoch is the
-- same. So its meta ends sooner, also since any client can make up names.
local function open(meta, stream, wanted, has_stream)
  local kept = redis.call('HMGET', meta, 'e', 'o', 'p', 'l', 'b', 'k', 'v')
  local lineage = ARGV[1]
  -- A lineage of the node that differs need not be newer: the node may have read an old one.
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

-- Returns the head of an envelope: version, kind, epoch, number. The rest is opaque here.
local function head(kind, epoch, number)
  return struct.pack('>BBBc0I8', 1, kind, #epoch, epoch, number)
end
