-- Remembers a member of a group; of one group, the latest ones.
--
-- KEYS: 1 the group: member to until when, a space, and a number that grows, under '' the last such
-- number. ARGV: 1 member, 2 now, 3 until when, 4 the group's time to live, 5 how many members are
-- remembered.
local GROUP, MEMBER, NOW, UNTIL = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3]
local TIME_TO_LIVE, MOST = ARGV[4], tonumber(ARGV[5])

local number = redis.call('HINCRBY', GROUP, '', 1)
redis.call('HSET', GROUP, MEMBER, UNTIL .. ' ' .. string.format('%.0f', number))
redis.call('PEXPIRE', GROUP, TIME_TO_LIVE)
local kept, others = redis.call('HGETALL', GROUP), {}
for at = 1, #kept, 2 do
  local ends_at, since = kept[at + 1]:match('^(%-?%d+) (%d+)$')
  if ends_at and kept[at] ~= MEMBER then
    if NOW < tonumber(ends_at) then
      others[#others + 1] = { tonumber(since), kept[at] }
    else
      redis.call('HDEL', GROUP, kept[at])
    end
  end
end
table.sort(others, function(one, other) return one[1] < other[1] end)
for at = 1, #others + 1 - MOST do redis.call('HDEL', GROUP, others[at][2]) end
return 1
