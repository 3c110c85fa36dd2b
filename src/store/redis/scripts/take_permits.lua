-- Takes permits of one counter: the generic cell rate algorithm, with a quantity, at this server's
-- time.
--
-- KEYS: 1 the counter. ARGV: 1 the time after which one permit more is there, 2 the burst, 3 how
-- many permits are wanted at most. Returns how many were taken, how many are left, when one more
-- will be there (0: all are), and when all will be.
--
-- The counter is how far its permits are spent, as the time after which all are there again (`b`),
-- the moment of which that is true (`t`, microseconds), and the time in which one comes back (`i`).
-- Instances may have another burst or rate than the last one that took, as in the middle of a
-- reload. What was taken counts for all of them; so what passes is never more than their largest
-- burst, and what comes back. But it is no debt for a smaller burst (`n`): what is spent beyond that
-- is forgiven to its instances alone (`f`), as long as no other burst needs that, too.
--
-- Times are nanoseconds otherwise. They are exact up to 2^53 ns, 104 days: a longer one has an
-- error that is not noticed in it.
local INTERVAL, BURST, WANTED = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

-- The longest time that is answered: 285 years.
local LONGEST = 9e18

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local all, forgiven, forgiven_to, is_changed = 0, 0, nil, false
local kept = redis.call('HMGET', KEYS[1], 't', 'b', 'i', 'f', 'n')
if kept[1] then
  -- A clock that was set back gives nothing, and counts on from where it is: this is written down
  -- though nothing is taken, or nothing would come back until the clock is at that moment again.
  local at = tonumber(kept[1])
  all = math.max(tonumber(kept[2]) - math.max(now - at, 0) * 1000, 0)
  is_changed = now < at
  forgiven, forgiven_to = math.min(tonumber(kept[4] or 0), all), tonumber(kept[5] or BURST)
  -- Of another rate, as many are spent as were.
  local interval = tonumber(kept[3] or INTERVAL)
  if interval ~= INTERVAL then
    all = math.ceil(all / interval * INTERVAL)
    forgiven = math.floor(forgiven / interval * INTERVAL)
    is_changed = is_changed or all > 0
  end
end
local spent = all - (forgiven_to == BURST and forgiven or 0)
if spent > INTERVAL * BURST then
  spent = INTERVAL * BURST
  forgiven, forgiven_to, is_changed = all - spent, BURST, true
end
local free = math.max(math.floor((INTERVAL * BURST - spent) / INTERVAL), 0)
local taken = math.min(WANTED, free)
if taken > 0 or is_changed then
  all, spent = all + taken * INTERVAL, spent + taken * INTERVAL
  redis.call(
    'HSET', KEYS[1], 't', string.format('%.0f', now), 'b', string.format('%.0f', all),
    'i', string.format('%.0f', INTERVAL)
  )
  if forgiven > 0 then
    redis.call('HSET', KEYS[1], 'f', string.format('%.0f', forgiven), 'n', forgiven_to)
  elseif kept[4] then
    redis.call('HDEL', KEYS[1], 'f', 'n')
  end
  -- A counter that has all its permits is one that is not there.
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(all / 1000000) + 1))
end
local next_after = spent > 0 and (spent - 1) % INTERVAL + 1 or 0
return {
  string.format('%.0f', taken), string.format('%.0f', free - taken),
  string.format('%.0f', next_after), string.format('%.0f', math.min(spent, LONGEST)),
}
