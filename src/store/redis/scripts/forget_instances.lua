-- Takes instances off the register that have not beaten since.
--
-- KEYS: 1 instances. ARGV: id and what was registered, one after the other. Returns how many were
-- taken off.
local forgotten = 0
for at = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[at]) == ARGV[at + 1] then
    forgotten = forgotten + redis.call('HDEL', KEYS[1], ARGV[at])
  end
end
return forgotten
