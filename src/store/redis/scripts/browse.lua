-- Some of all records, oldest first; after announce.lua and records.lua. It changes nothing.
--
-- ARGV: 4 'live' or 'retired': which of them, 5 and 6 score and member after which to go on ('' at
-- first), 7 how many entries to look at. Returns the records, and score and member of the last
-- entry that was looked at ('' if there are no more).
local RETIRED, SCORE, MEMBER, MOST = ARGV[4] == 'retired', ARGV[5], ARGV[6], tonumber(ARGV[7])

local first = rank_after(ALL, SCORE, MEMBER)
local page = redis.call('ZRANGE', ALL, first, first + MOST - 1, 'WITHSCORES')
local members = {}
for at = 1, #page, 2 do members[#members + 1] = page[at] end
local rows = {}
for _, row in ipairs(kept(entries(members))) do
  if (row[7] ~= '') == RETIRED then rows[#rows + 1] = row end
end
if #members < MOST then return { rows, '', '' } end
return { rows, page[#page], page[#page - 1] }
