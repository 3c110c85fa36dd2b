-- Whether changes would be accepted now: makes one, of a kind that needs memory.
--
-- KEYS: 1 meta. ARGV: 1 anything short.
redis.call('HSET', KEYS[1], 'probe', ARGV[1])
return 1
