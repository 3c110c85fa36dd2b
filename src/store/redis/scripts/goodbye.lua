-- An instance that stops takes itself off the register.
--
-- KEYS: 1 instances. ARGV: 1 id.
return redis.call('HDEL', KEYS[1], ARGV[1])
