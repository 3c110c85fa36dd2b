-- Opens a ticket, if there is room for it.
--
-- KEYS: 1 the ticket, 2 all open tickets, then those 3 of its token, 4 of its subject, 5 of its
-- tenant. ARGV: 1 the ticket's digest, 2 the token's, 3 the name of its subject, 4 that of its
-- tenant, 5 when it ends, 6 its seal, 7 now, 8 the time to live of all keys, in milliseconds, 9 how
-- many may be open in all, 10 of one token, 11 of one subject. Returns 'opened', or 'full' with
-- what to wait, in milliseconds.
local TICKET, NOW = KEYS[1], ARGV[7]
local MOST = { tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[9]) }

-- No more than these are removed in a step: each ticket that is opened makes more room than it
-- takes. Those that have ended and are still there count as little as those that are gone.
local FORGOTTEN = 100
local OPEN = '(' .. NOW

-- How many are free in all, once the first set has been counted: no holder may have more.
local wait, free
for at, most in ipairs(MOST) do
  local set = KEYS[at + 1]
  local ended = redis.call('ZRANGEBYSCORE', set, '-inf', NOW, 'LIMIT', 0, FORGOTTEN)
  if #ended > 0 then redis.call('ZREM', set, unpack(ended)) end
  local count = redis.call('ZCOUNT', set, OPEN, '+inf')
  if count > 0 and count >= math.min(most, free or most) then
    local oldest = redis.call('ZRANGEBYSCORE', set, OPEN, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    wait = math.max(wait or 0, tonumber(oldest[2]) - tonumber(NOW))
  end
  free = free or math.max(most - count, 0)
end
if wait then return { 'full', string.format('%.0f', math.max(wait, 0)) } end
redis.call(
  'HSET', TICKET, 'h', ARGV[2], 'u', ARGV[3], 'n', ARGV[4], 'e', ARGV[5], 's', ARGV[6]
)
redis.call('PEXPIRE', TICKET, ARGV[8])
for at = 2, 5 do
  redis.call('ZADD', KEYS[at], ARGV[5], ARGV[1])
  redis.call('PEXPIRE', KEYS[at], ARGV[8])
end
return { 'opened' }
