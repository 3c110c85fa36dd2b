-- The API keys of one owner, live or retired, at one moment; after announce.lua and records.lua. It
-- changes nothing.
--
-- ARGV: 4 what authorizes it, 5 now, 6 owner, 7 how many records to return whole. Returns 'gone',
-- or 'owned' with a list of the first records, and the members and digests of the others in one
-- string.
local AUTHORIZED_BY, NOW, OWNER, MOST = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])

if refusal(AUTHORIZED_BY, NOW) then return { 'gone' } end
local whole, others = {}, {}
for _, list in ipairs({ owner_key(OWNER), retired_list_key(OWNER) }) do
  for _, found in ipairs(entries(redis.call('ZRANGE', list, 0, -1))) do
    if #whole < MOST then
      whole[#whole + 1] = found
    elseif found.digest then
      others[#others + 1] = found.member .. found.digest
    end
  end
end
return { 'owned', { kept(whole), table.concat(others) } }
