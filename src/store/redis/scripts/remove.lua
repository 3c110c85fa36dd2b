-- Removes one record; after announce.lua and records.lua. It is announced whether or not it was
-- there, so that a call that is repeated because its answer was lost waits for the fleet, too.
--
-- ARGV: 4 what authorizes it, 5 now, 6 digest, 7 'delete' or 'retire', 8 how many retired keys of
-- one owner are kept. Returns 'gone', or 'removed' or 'absent' with an announcement.
local AUTHORIZED_BY, NOW, DIGEST, ON_REMOVE, MOST_RETIRED = unpack(ARGV, 4, 8)

if refusal(AUTHORIZED_BY, NOW) then return { 'gone' } end
despite_full_memory()
local outcome = 'absent'
if redis.call('EXISTS', record_key(DIGEST)) > 0 then
  outcome = 'removed'
  local found = entry(redis.call('HGET', record_key(DIGEST), 'i') or '')
  if not found or found.digest ~= DIGEST then
    -- Damaged: what can be removed is, the rest is left to the purge.
    redis.call('DEL', record_key(DIGEST))
  elseif ON_REMOVE == 'retire' and found.owner ~= '' then
    retire({ found }, NOW, tonumber(MOST_RETIRED))
  else
    erase({ found })
  end
end
return { outcome, '', announce({ DIGEST }) }
