-- Records by member and digest, live or retired; after announce.lua and records.lua. It changes
-- nothing.
--
-- ARGV from 4: members, each with its digest behind it. Returns those that are still there.
local list = {}
for at = 4, #ARGV do
  local id = ARGV[at]:sub(13, 44)
  list[#list + 1] = { id = id, member = ARGV[at]:sub(1, 44), digest = ARGV[at]:sub(45) }
end
return kept(list)
