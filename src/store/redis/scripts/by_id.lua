-- The record with an id, live or retired; after announce.lua and records.lua. It changes nothing.
--
-- ARGV: 4 id. Returns the record, or nothing.
local found = entry(ARGV[4])
return found and kept({ found })[1]
