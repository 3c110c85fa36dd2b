-- Notes when tokens were last used; after announce.lua and records.lua. Kept beside the records, or
-- each note would take the record out of every instance's cache.
--
-- ARGV from 4: digest and moment, one after the other.
for at = 4, #ARGV, 2 do
  local digest, moment = ARGV[at], ARGV[at + 1]
  if redis.call('EXISTS', record_key(digest)) > 0 then
    local noted = redis.call('HGET', USED, digest)
    if not noted or tonumber(noted) < tonumber(moment) then
      redis.call('HSET', USED, digest, moment)
    end
  end
end
return 1
