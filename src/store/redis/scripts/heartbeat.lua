-- An instance says that it is there; after announce.lua. A write on purpose: a master that has lost
-- its replicas refuses it.
--
-- ARGV: 4 the instance's id, 5 what is registered: its beat, a space, and for how many milliseconds
-- after a beat it may use what it remembers. The beat is counted by the instance: one that Redis
-- counted would begin anew once the instance has been forgotten, and an instance that still means
-- to forget the old one would then forget the new one.
--
-- Returns the generation, and 1 if that was made just now.
despite_full_memory()
redis.call('HSET', INSTANCES, ARGV[4], ARGV[5])
local current, is_new = generation()
return { current, is_new }
