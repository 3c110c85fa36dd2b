-- Adds a record, if what vouches is good; after announce.lua and records.lua.
--
-- ARGV: 4 what vouches ('': somebody outside), 5 now, 6 'beside', 'instead' or 'alone', 7 digest, 8 id, 9 owner, 10 'key' if it
-- is an API key, 11 issued at, 12 end or '', 13 time to live or '', 14 keys to make or '', 15 last used or '', 16 body,
-- 17 when it was retired, if it is to be kept as a retired key and nothing else, or '', 18 how many of those an owner has.
-- Returns 'issued' with the removed digests in one string and an announcement or nothing; 'taken' with a record; 'gone',
-- 'spent' or 'conflict'.
local VOUCHER, NOW, PLACE, DIGEST, ID, OWNER, SORT = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local ISSUED_AT, ENDS_AT, TIME_TO_LIVE, MINTS, LAST_USED, BODY = unpack(ARGV, 11, 16)
local RETIRED_AT, MOST_RETIRED = ARGV[17], ARGV[18]

local why, mints_left = refusal(VOUCHER, NOW)
if why then return { why } end
if mints_left and tonumber(mints_left) <= 0 then return { 'spent' } end

local others = {}
if PLACE ~= 'beside' then
  others = entries_of(OWNER)
  if not others then return DAMAGED end
end
if PLACE == 'alone' then
  for _, row in ipairs(kept(others)) do
    if row[7] == '' and (row[5] == '' or tonumber(row[5]) > tonumber(NOW)) then
      return { 'taken', row }
    end
  end
end

-- The others are removed, also where it is to be alone: they have expired. So they are in nobody's way.
local replaced = {}
for _, other in ipairs(others) do
  if other.digest then replaced[other.digest] = true end
end
local namesake = entry(ID)
if is_there(DIGEST) and not replaced[DIGEST] then return { 'conflict' } end
if namesake and not replaced[namesake.digest] and is_there(namesake.digest) then return { 'conflict' } end

-- The first write is one that takes memory, on purpose: a full store issues nothing.
local number = redis.call('HINCRBY', META, 'sequence', 1)
local removed = digests_of((split(others)))
erase(others)
if namesake then erase({ namesake }) end
if mints_left then redis.call('HINCRBY', record_key(VOUCHER), 'm', -1) end

local sequence = string.format('%012x', number)
local member = sequence .. ID
redis.call('HSET', record_key(DIGEST), 'b', BODY, 'i', ID)
if ENDS_AT ~= '' then
  redis.call('HSET', record_key(DIGEST), 'e', ENDS_AT)
  redis.call('ZADD', EXPIRY, ENDS_AT, member)
end
if TIME_TO_LIVE ~= '' then redis.call('PEXPIRE', record_key(DIGEST), TIME_TO_LIVE) end
if MINTS ~= '' then redis.call('HSET', record_key(DIGEST), 'm', MINTS) end
if LAST_USED ~= '' then redis.call('HSET', USED, DIGEST, LAST_USED) end
redis.call('HSET', CATALOG, ID, DIGEST .. sequence .. (SORT == 'key' and OWNER or ''))
redis.call('ZADD', ALL, ISSUED_AT, member)
if SORT == 'key' then redis.call('ZADD', owner_key(OWNER), ISSUED_AT, member) end

-- Nobody has seen it, so there is nothing to announce.
if RETIRED_AT ~= '' then
  local added = { entry(ID) }
  if SORT == 'key' then retire(added, RETIRED_AT, tonumber(MOST_RETIRED)) else erase(added) end
end

-- What was to go is announced whether or not it was there: who repeats a call whose answer was lost waits for the fleet, too.
if PLACE == 'instead' or #removed > 0 then
  return { 'issued', table.concat(removed), announce(removed) }
end
return { 'issued', '' }
