-- Begins every script that removes something, or that belongs to the fleet. It removes nothing
-- itself.
--
-- KEYS: 1 meta, 2 instances. ARGV: 1 the prefix with its braces and colon, 2 the number that this
-- instance gives to what it may announce, a space, and its id; 3 a random id, for a generation if
-- there is none.
--
-- The number is the instance's own: one that Redis counted could come again after a loss of data,
-- and an old confirmation would then be taken for that of another announcement.
local META, INSTANCES = KEYS[1], KEYS[2]
local PREFIX, NUMBER_AND_ME, FRESH = ARGV[1], ARGV[2], ARGV[3]

-- How many digests are named; for more, everyone drops everything.
local MOST_NAMED = 1024

-- When memory is full, Redis refuses a script's first write unless it is of a kind that can free
-- memory, and lets later ones pass. What removes, and the heartbeat, must go on when memory is
-- full, so they begin with a removal of nothing.
local function despite_full_memory()
  redis.call('HDEL', META, '')
end

-- The generation of the data, and 1 if it was made just now because there was none: what was kept
-- before is lost.
local function generation()
  local found = redis.call('HGET', META, 'generation')
  if found then
    return found, 0
  end
  redis.call('HSET', META, 'generation', FRESH)
  return FRESH, 1
end

-- Tells every instance that the records under these digests are gone; of none: that everything that
-- was removed before is. Returns the announcement's number, the registered instances, and the
-- generation.
local function announce(digests)
  local named = '*'
  if #digests <= MOST_NAMED then
    local parts = {}
    for at, digest in ipairs(digests) do
      parts[at] = digest:gsub('%x%x', function(byte) return string.char(tonumber(byte, 16)) end)
    end
    named = table.concat(parts)
  end
  redis.call('PUBLISH', PREFIX .. 'revoked', NUMBER_AND_ME .. ' ' .. named)
  local current, is_new = generation()
  return { NUMBER_AND_ME, redis.call('HGETALL', INSTANCES), current, is_new }
end
