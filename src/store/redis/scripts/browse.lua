-- Some of all records, oldest first; after announce.lua and records.lua. It changes nothing.
--
-- ARGV: 4 and 5 score and member after which to go on ('' at first), 6 how many entries to look at, 7 'live' or 'retired':
-- which of them. Returns the records, and score and member of the last entry that was looked at ('' if there are no more).
local SCORE, MEMBER, MOST, RETIRED = ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7] == 'retired'

-- The rank of the first entry after the last one, which may be gone by now.
local function rank_to_go_on_at()
  if MEMBER == '' then return 0 end
  local rank = redis.call('ZRANK', ALL, MEMBER)
  if rank then return rank + 1 end
  rank = redis.call('ZCOUNT', ALL, '-inf', '(' .. SCORE)
  while true do
    local tied = redis.call('ZRANGE', ALL, rank, rank + MANY - 1, 'WITHSCORES')
    if #tied == 0 then return rank end
    for at = 1, #tied, 2 do
      if tonumber(tied[at + 1]) > tonumber(SCORE) or tied[at] > MEMBER then return rank end
      rank = rank + 1
    end
  end
end

local first = rank_to_go_on_at()
local page = redis.call('ZRANGE', ALL, first, first + MOST - 1, 'WITHSCORES')
local members = {}
for at = 1, #page, 2 do members[#members + 1] = page[at] end
local rows = {}
for _, row in ipairs(kept(entries(members))) do
  if (row[7] ~= '') == RETIRED then rows[#rows + 1] = row end
end
if #members < MOST then return { rows, '', '' } end
return { rows, page[#page], page[#page - 1] }
