-- Lists rooms that have a stream, or are remembered without members. A call reads one part of the
-- index, so that none takes long.
--
-- KEYS  1 index of rooms
-- ARGV  5 the prefix of keys of metas  6 the prefix of keys of streams  7 the prefix of names
--       8 the start of the part, as an argument of `ZRANGE`  9 entries of the part
-- Returns  the start of the next part, or '' after the last; then names
local begin, found, last = ARGV[5] .. ARGV[7], {''}, ''
local metas = redis.call('ZRANGE', KEYS[1], ARGV[8], '+', 'BYLEX', 'LIMIT', 0, ARGV[9])
for _, meta in ipairs(metas) do
  if meta:sub(1, #begin) ~= begin then
    return found
  end
  local room, vacant = meta:sub(#ARGV[5] + 1), redis.call('HGET', meta, 'v')
  if vacant or redis.call('EXISTS', ARGV[6] .. room) == 1 then
    found[#found + 1] = room
  elseif redis.call('EXISTS', meta) == 0 then
    redis.call('ZREM', KEYS[1], meta)
  end
  last = meta
end
if #metas == tonumber(ARGV[9]) then
  found[1] = '(' .. last
end
return found
