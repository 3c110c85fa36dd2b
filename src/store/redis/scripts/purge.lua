-- Deletes what has expired, and what is left in the indexes of records that went in another way;
-- after announce.lua and records.lua.
--
-- ARGV: 4 now, 5 how many expired records at most, 6 how many entries to look after. Those that are
-- looked after are the next ones in turn, so that with time each of them is. Returns 'purged' with
-- how many had expired, and an announcement if a record was removed.
local NOW, MOST, LOOK_AFTER = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])

despite_full_memory()
local expired = entries(redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', NOW, 'LIMIT', 0, MOST))
local digests = digests_of((split(expired)))
erase(expired)

local rank = tonumber(redis.call('HGET', META, 'looked_after') or 0)
local members = redis.call('ZRANGE', ALL, rank, rank + LOOK_AFTER - 1)
local left_over = {}
for _, found in ipairs(entries(members)) do
  if not found.digest or not is_there(found.digest) then left_over[#left_over + 1] = found end
end
erase(left_over)
if #members < LOOK_AFTER then
  redis.call('HDEL', META, 'looked_after')
else
  redis.call('HSET', META, 'looked_after', rank + #members - #left_over)
end
return { 'purged', #expired, #digests > 0 and announce(digests) or nil }
