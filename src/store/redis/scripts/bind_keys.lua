-- Ties the store to one set of keys at first use, and says afterwards whether they are the same.
-- Nothing is changed in a store that a newer keyward has written.
--
-- KEYS: 1 meta. ARGV: 1 the fingerprint of the keys, 2 the layout that we know. Returns 'bound',
-- 'other keys', or 'newer' with the layout that was found.
local layout = redis.call('HGET', KEYS[1], 'layout')
local is_newer = layout and (tonumber(layout) or math.huge) > tonumber(ARGV[2])
if is_newer then return { 'newer', layout } end
local bound = redis.call('HGET', KEYS[1], 'keys')
if bound and bound ~= ARGV[1] then return { 'other keys' } end
if not (layout and bound) then
  redis.call('HSET', KEYS[1], 'layout', ARGV[2], 'keys', ARGV[1])
end
return { 'bound' }
