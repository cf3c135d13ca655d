-- Functions that every script of a room begins with.
--
-- A room has a meta, a hash of
--   e  the epoch, under which each offset is given out once
--   o  the offset of the last message, 0 before the first
--   p  the number of the last presence notice
--   b  bytes of the bodies in the stream, as long as there is one
--   l  the lineage of the data that all of this belongs to
--
-- ARGV of these scripts begins with
--   1  the lineage that the node has read
--   2  'ask' to read the lineage here: no older answer of the node counts then
--   3  an epoch that nobody has used, for the case that a new one must begin
--   4  milliseconds after which a meta that nobody touches is forgotten

-- A replica that was promoted too early has an older offset, and would give out offsets again
-- under the same epoch. Its lineage is another one, so a new epoch begins, and the stream goes with
-- the old one.
local function open(meta, stream)
  local lineage = ARGV[1]
  if ARGV[2] == 'ask' then
    lineage = redis.call('INFO', 'replication'):match('master_replid:(%w+)')
  end
  local kept = redis.call('HMGET', meta, 'e', 'o', 'p', 'l', 'b')
  local epoch, offset, number = kept[1], tonumber(kept[2]), tonumber(kept[3])
  local bytes = tonumber(kept[5] or 0)
  if not epoch or kept[4] ~= lineage then
    epoch, offset, number, bytes = ARGV[3], 0, 0, 0
    redis.call('HSET', meta, 'e', epoch, 'o', 0, 'p', 0, 'l', lineage)
    redis.call('DEL', stream)
  end
  redis.call('PEXPIRE', meta, ARGV[4])
  return epoch, offset, number, bytes
end

-- The head of everything that is published: version, kind, epoch, number. The rest is opaque here.
local function head(kind, epoch, number)
  return struct.pack('>BBBc0I8', 1, kind, #epoch, epoch, number)
end
