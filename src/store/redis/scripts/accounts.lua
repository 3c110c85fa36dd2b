-- Some of all accounts, oldest first; after announce.lua and records.lua. It changes nothing.
--
-- KEYS: 7 accounts. ARGV: 4 the token API, or '' for each, 5 and 6 score and member after which to
-- go on ('' at first), 7 how many entries to look at. Returns the accounts, each as member, score
-- and body ('' if it is not there), and score and member of the last entry that was looked at (''
-- if there are no more).
local ACCOUNTS, MOST = KEYS[7], tonumber(ARGV[7])
local TOKEN_API, SCORE, MEMBER = ARGV[4], ARGV[5], ARGV[6]

local first = rank_after(ACCOUNTS, SCORE, MEMBER)
local page = redis.call('ZRANGE', ACCOUNTS, first, first + MOST - 1, 'WITHSCORES')
local rows = {}
for at = 1, #page, 2 do
  local token_api, id = page[at]:sub(13, 76), page[at]:sub(77)
  if TOKEN_API == '' or token_api == TOKEN_API then
    local body = redis.call('HGET', PREFIX .. 'a:' .. token_api .. ':' .. id, 'b')
    rows[#rows + 1] = { page[at], page[at + 1], body or '' }
  end
end
if #page < 2 * MOST then return { rows, '', '' } end
return { rows, page[#page], page[#page - 1] }
