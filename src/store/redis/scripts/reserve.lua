-- Takes one of each counter, or none.
--
-- KEYS: the counters. ARGV: 1 now, 2 what to wait for what is only reserved, in milliseconds; then
-- for each counter its limit, the end of a new window, and that window's time to live. Returns
-- 'reserved', or 'refused' with what to wait, in milliseconds.
local NOW, SHORTLY = tonumber(ARGV[1]), tonumber(ARGV[2])

local live, wait = {}, nil
for at, key in ipairs(KEYS) do
  local ends_at, spent, reserved = unpack(redis.call('HMGET', key, 'e', 's', 'r'))
  live[at] = ends_at and NOW < tonumber(ends_at)
  local limit = tonumber(ARGV[3 * at])
  if live[at] and tonumber(spent or 0) + tonumber(reserved or 0) >= limit then
    local is_spent = tonumber(spent or 0) >= limit
    wait = math.max(wait or 0, is_spent and tonumber(ends_at) - NOW or SHORTLY)
  end
end
if wait then return { 'refused', string.format('%.0f', wait) } end
for at, key in ipairs(KEYS) do
  if live[at] then
    redis.call('HINCRBY', key, 'r', 1)
  else
    redis.call('HSET', key, 'e', ARGV[3 * at + 1], 's', 0, 'r', 1)
    redis.call('PEXPIRE', key, ARGV[3 * at + 2])
    -- Should it be named again.
    for other = at + 1, #KEYS do live[other] = live[other] or KEYS[other] == key end
  end
end
return { 'reserved' }
