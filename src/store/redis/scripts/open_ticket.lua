-- Opens a ticket, if there is room for it.
--
-- KEYS: 1 the ticket, 2 the open tickets of its token, 3 all open tickets. ARGV: 1 the ticket's
-- digest, 2 the token's, 3 when it ends, 4 its seal, 5 now, 6 the time to live of all three, in
-- milliseconds, 7 how many of one token may be open, 8 how many in all. Returns 'opened', or 'full'
-- with what to wait, in milliseconds.
local TICKET, SETS = KEYS[1], { KEYS[2], KEYS[3] }
local NOW, MOST = ARGV[5], { tonumber(ARGV[7]), tonumber(ARGV[8]) }

-- No more than these in a step: each ticket that is opened makes more room than it takes.
local FORGOTTEN = 100

local wait
for at, set in ipairs(SETS) do
  local ended = redis.call('ZRANGEBYSCORE', set, '-inf', NOW, 'LIMIT', 0, FORGOTTEN)
  if #ended > 0 then redis.call('ZREM', set, unpack(ended)) end
  if redis.call('ZCARD', set) >= MOST[at] then
    local oldest = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
    wait = math.max(wait or 0, tonumber(oldest[2]) - tonumber(NOW))
  end
end
if wait then return { 'full', string.format('%.0f', math.max(wait, 0)) } end
redis.call('HSET', TICKET, 'h', ARGV[2], 'e', ARGV[3], 's', ARGV[4])
redis.call('PEXPIRE', TICKET, ARGV[6])
for _, set in ipairs(SETS) do
  redis.call('ZADD', set, ARGV[3], ARGV[1])
  redis.call('PEXPIRE', set, ARGV[6])
end
return { 'opened' }
