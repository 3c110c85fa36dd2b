-- Adds a record, if what authorizes it is valid; after announce.lua and records.lua.
--
-- ARGV: 4 what authorizes it ('' if that is outside the store), 5 now, 6 'add', 'replace' or 'if
-- none', from 7 the record: see `record_at`; behind it, if it is to be kept as a retired key and as
-- nothing else, when it was retired, and how many of those an owner has. Returns 'issued' with the
-- removed digests in one string and an announcement or nothing; 'taken' with a record; 'gone',
-- 'spent' or 'conflict'.
local AUTHORIZED_BY, NOW, MODE, RECORD = ARGV[4], ARGV[5], ARGV[6], record_at(7)
local RETIRED_AT, MOST_RETIRED = ARGV[18], ARGV[19]

local why, mints_left = refusal(AUTHORIZED_BY, NOW)
if why then return { why } end
if mints_left and tonumber(mints_left) <= 0 then return { 'spent' } end

local others = {}
if MODE ~= 'add' then
  others = entries_of(RECORD.owner)
  if not others then return DAMAGED end
end
if MODE == 'if none' then
  for _, row in ipairs(kept(others)) do
    if row[7] == '' and (row[5] == '' or tonumber(row[5]) > tonumber(NOW)) then
      return { 'taken', row }
    end
  end
end

-- The others are removed, also with 'if none': there they have expired. So they are no conflict.
local replaced = {}
for _, other in ipairs(others) do
  if other.digest then replaced[other.digest] = true end
end
local is_in_conflict, namesake = conflict(RECORD, replaced)
if is_in_conflict then return { 'conflict' } end

local sequence = next_sequence()
local removed = digests_of((split(others)))
erase(others)
if namesake then erase({ namesake }) end
if mints_left then redis.call('HINCRBY', record_key(AUTHORIZED_BY), 'm', -1) end
insert(RECORD, sequence)

-- No instance has read it yet, so there is nothing to announce.
if RETIRED_AT then
  local added = { entry(RECORD.id) }
  if RECORD.sort == 'key' then
    retire(added, RETIRED_AT, tonumber(MOST_RETIRED))
  else
    erase(added)
  end
end

-- Announced whether or not there was anything, so that a call that is repeated because its answer
-- was lost waits for the fleet, too.
if MODE == 'replace' or #removed > 0 then
  return { 'issued', table.concat(removed), announce(removed) }
end
return { 'issued', '' }
