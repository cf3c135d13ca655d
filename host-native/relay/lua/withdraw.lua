-- Withdraws users; the later time of each counts. Above the limit the earliest times become one
-- time for all users, kept under the empty name: that refuses more identities, never fewer.
-- KEYS: users. ARGV: the largest number of users; then each user and its time.
for at = 2, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], 'GT', ARGV[at + 1], ARGV[at])
end
local everyone = tonumber(redis.call('ZSCORE', KEYS[1], '') or 0)
local excess = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[1])
if everyone > 0 then
  excess = excess - 1
end
if excess > 0 then
  -- The latest time among the excess users counts for all; the empty name is no user.
  local found = redis.call('ZRANGE', KEYS[1], 0, excess, 'WITHSCORES')
  local left = excess
  for at = 1, #found, 2 do
    if found[at] ~= '' and left > 0 then
      everyone, left = math.max(everyone, tonumber(found[at + 1])), left - 1
    end
  end
end
if everyone > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', everyone))
  redis.call('ZADD', KEYS[1], string.format('%.0f', everyone), '')
end
return everyone
