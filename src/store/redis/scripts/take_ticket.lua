-- Takes an open ticket: only the first call finds it.
--
-- KEYS: 1 the ticket, 2 all open tickets. ARGV: 1 the ticket's digest, 2 what the names of the sets
-- of tokens begin with; they have the same hash tag. Returns 'taken' with digest of the token, end
-- and seal, or 'absent'.
local kept = redis.call('HMGET', KEYS[1], 'h', 'e', 's')
if not kept[1] then return { 'absent' } end
redis.call('DEL', KEYS[1])
redis.call('ZREM', ARGV[2] .. kept[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return { 'taken', kept }
