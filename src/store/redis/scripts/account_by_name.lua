-- The account that has a name. It changes nothing.
--
-- KEYS: 1 usernames. ARGV: 1 what the keys of the accounts begin with, 2 username. Returns the id
-- and the body ('' if it is not there), or nothing.
local id = redis.call('HGET', KEYS[1], ARGV[2])
return id and { id, redis.call('HGET', ARGV[1] .. id, 'b') or '' }
