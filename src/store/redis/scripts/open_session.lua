-- Adds a session of an account, if that is still what was read; after announce.lua and records.lua.
--
-- KEYS: 7 the account. ARGV: 4 the account's body that was read, 5 how many sessions an account has
-- at most, from 6 the session: see `record_at`. Returns 'opened' with the digests of those that
-- were removed for it in one string and an announcement or nothing; 'stale' with the account's body
-- that is there ('' if there is none); or 'conflict'.
local ACCOUNT, READ, MOST, SESSION = KEYS[7], ARGV[4], tonumber(ARGV[5]), record_at(6)

local body = redis.call('HGET', ACCOUNT, 'b')
if body ~= READ then return { 'stale', body or '' } end
local is_in_conflict, namesake = conflict(SESSION, {})
if is_in_conflict then return { 'conflict' } end
if not sessions_of(SESSION.owner) then return DAMAGED end

local sequence = next_sequence()
if namesake then erase({ namesake }) end
insert(SESSION, sequence)
local there, left_over = split(sessions_of(SESSION.owner))
erase(left_over)
local over = {}
for at = 1, #there - MOST do over[at] = there[at] end
erase(over)
if #over == 0 then return { 'opened', '' } end
local removed = digests_of(over)
return { 'opened', table.concat(removed), announce(removed) }
