-- Ends one reservation of each counter. What has no window any more is passed over.
--
-- KEYS: the counters. ARGV: 1 now, then for each 'spent', 'returned' or 'cleared'.
for at, key in ipairs(KEYS) do
  local kept = redis.call('HMGET', key, 'e', 's', 'r')
  if kept[1] and tonumber(ARGV[1]) < tonumber(kept[1]) then
    local spent, reserved = tonumber(kept[2] or 0), math.max(tonumber(kept[3] or 0) - 1, 0)
    if ARGV[at + 1] == 'spent' then spent = spent + 1 end
    if ARGV[at + 1] == 'cleared' then spent = 0 end
    if spent == 0 and reserved == 0 then
      redis.call('DEL', key)
    else
      spent, reserved = string.format('%.0f', spent), string.format('%.0f', reserved)
      redis.call('HSET', key, 's', spent, 'r', reserved)
    end
  end
end
return 1
