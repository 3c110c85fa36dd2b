-- Takes an open ticket: only the first call finds it.
--
-- KEYS: 1 the ticket, 2 all open tickets. ARGV: 1 the ticket's digest, then what the names of the
-- sets begin with: 2 of tokens, 3 of subjects, 4 of tenants; they have the same hash tag. Returns
-- 'taken' with digest of the token, end and seal, or 'absent'.
local kept = redis.call('HMGET', KEYS[1], 'h', 'e', 's', 'u', 'n')
if not kept[1] then return { 'absent' } end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
-- One that an earlier keyward has opened is not counted by subject and tenant.
for at, holder in ipairs({ kept[1], kept[4], kept[5] }) do
  if holder then redis.call('ZREM', ARGV[at + 1] .. holder, ARGV[1]) end
end
return { 'taken', { kept[1], kept[2], kept[3] } }
