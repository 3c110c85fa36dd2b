-- Puts another body in the place of an account's, if it is still the one that was read, and ends
-- what the account has; after announce.lua and records.lua.
--
-- KEYS: 7 the account. ARGV: 4 the body that was read, 5 the new one, 6 'nothing', 'sessions' or
-- 'all', 7 owner, 8 origin and subject, 9 now, 10 how many retired keys of one owner are kept.
-- 'all': its sessions and what they made at other token APIs are removed, its keys are retired.
-- Returns 'changed', where something was to end with the digests in one string and an announcement;
-- or 'stale' with the body that is there ('' if there is none).
local ACCOUNT = KEYS[7]
local READ, BODY, ENDS, OWNER, ORIGIN, NOW, MOST_RETIRED = unpack(ARGV, 4, 10)

local body = redis.call('HGET', ACCOUNT, 'b')
if body ~= READ then return { 'stale', body or '' } end
if ENDS == 'nothing' then
  redis.call('HSET', ACCOUNT, 'b', BODY)
  return { 'changed' }
end
local sessions, keys, derived = sessions_of(OWNER), {}, {}
if ENDS == 'all' then
  keys, derived = entries_of(OWNER), derived_from(ORIGIN)
end
if not (sessions and keys and derived) then return DAMAGED end
despite_full_memory()
redis.call('HSET', ACCOUNT, 'b', BODY)
local digests = {}
for _, list in ipairs({ sessions, keys, derived }) do
  local there, left_over = split(list)
  for _, digest in ipairs(digests_of(there)) do digests[#digests + 1] = digest end
  erase(left_over)
  if list == keys then
    retire(there, NOW, tonumber(MOST_RETIRED))
  else
    erase(there)
  end
end
-- Announced whether or not there was anything, so that a call that is repeated because its answer
-- was lost waits for the fleet, too.
return { 'changed', table.concat(digests), announce(digests) }
