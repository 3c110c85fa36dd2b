-- Whether an instance is registered: a heartbeat that changes nothing.
--
-- KEYS: 1 meta, 2 instances. ARGV: 1 the instance's id.
-- Returns the generation, and what is registered; empty where there is none.
local generation = redis.call('HGET', KEYS[1], 'generation')
return { generation or '', redis.call('HGET', KEYS[2], ARGV[1]) or '' }
