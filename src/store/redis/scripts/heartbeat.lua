-- An instance says that it is there; after announce.lua. A write on purpose: a master that has lost its replicas refuses it.
--
-- Returns the instance's beat, the generation, and 1 if that was made just now.
despite_full_memory()
local beat = redis.call('HINCRBY', INSTANCES, ME, 1)
local current, is_new = generation()
return { beat, current, is_new }
