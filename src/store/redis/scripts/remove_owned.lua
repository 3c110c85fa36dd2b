-- Removes every API key of one owner; after announce.lua and records.lua.
--
-- ARGV: 4 what authorizes it, 5 now, 6 owner, 7 'delete' or 'retire', 8 how many retired keys of
-- one owner are kept. Returns 'gone', or 'removed' with the digests in one string and an
-- announcement.
local AUTHORIZED_BY, NOW, OWNER, ON_REMOVE, MOST_RETIRED = unpack(ARGV, 4, 8)

if refusal(AUTHORIZED_BY, NOW) then return { 'gone' } end
local all = entries_of(OWNER)
if not all then return DAMAGED end
despite_full_memory()
local there, left_over = split(all)
local digests = digests_of(there)
erase(left_over)
if ON_REMOVE == 'retire' then
  retire(there, NOW, tonumber(MOST_RETIRED))
else
  erase(there)
end
return { 'removed', table.concat(digests), announce(digests) }
