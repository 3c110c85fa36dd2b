-- Begins every script that deals with records. After announce.lua.
--
-- KEYS: 3 catalog, 4 all, 5 expiry, 6 used; further ones are those that the operation knows
-- beforehand. What is found only through the catalog is named here: it has the same hash tag, so it
-- is in the same slot.
local CATALOG, ALL, EXPIRY, USED = KEYS[3], KEYS[4], KEYS[5], KEYS[6]

-- How many values go into one call: Lua's stack ends at some 8000.
local MANY = 1000

local function record_key(digest) return PREFIX .. 'r:' .. digest end
local function retired_key(digest) return PREFIX .. 'x:' .. digest end
local function owner_key(owner) return PREFIX .. 'o:' .. owner end
local function retired_list_key(owner) return PREFIX .. 'ox:' .. owner end
local function sessions_key(owner) return PREFIX .. 's:' .. owner end
local function derived_key(origin) return PREFIX .. 'v:' .. origin end

-- One command for many values, in as few calls as Lua allows. `key` may be nil: the values are the
-- keys.
local function call_for_many(command, key, values)
  for first = 1, #values, MANY do
    local last = math.min(first + MANY - 1, #values)
    if key then
      redis.call(command, key, unpack(values, first, last))
    else
      redis.call(command, unpack(values, first, last))
    end
  end
end

-- The same for a command that answers with one value each (nil comes as false).
local function values_of_many(command, key, fields)
  local values = {}
  for first = 1, #fields, MANY do
    local last = math.min(first + MANY - 1, #fields)
    for _, value in ipairs(redis.call(command, key, unpack(fields, first, last))) do
      values[#values + 1] = value
    end
  end
  return values
end

-- A line of the catalog, taken apart. `member` is the record's member of every sorted set; `owner`
-- is whose API key it is, `session` whose session, `derived` from which subject of an origin it was
-- derived: '' for what it is not.
local function entry_of(id, line)
  return {
    id = id,
    digest = line:sub(1, 64),
    member = line:sub(65, 76) .. id,
    owner = line:match('^%x*', 77),
    session = line:match('s(%x+)', 77) or '',
    derived = line:match('v(%x+)', 77) or '',
  }
end

-- The rank of the first member of a sorted set after the one with this score, which may be gone by
-- now; '' is before all.
local function rank_after(set, score, member)
  if member == '' then return 0 end
  local rank = redis.call('ZRANK', set, member)
  if rank then return rank + 1 end
  rank = redis.call('ZCOUNT', set, '-inf', '(' .. score)
  while true do
    local tied = redis.call('ZRANGE', set, rank, rank + MANY - 1, 'WITHSCORES')
    if #tied == 0 then return rank end
    for at = 1, #tied, 2 do
      if tonumber(tied[at + 1]) > tonumber(score) or tied[at] > member then return rank end
      rank = rank + 1
    end
  end
end

-- The entry of a record by its id; nil if there is none.
local function entry(id)
  local line = redis.call('HGET', CATALOG, id)
  return line and entry_of(id, line) or nil
end

-- The entries of members of a sorted set, in that order. What the catalog does not know has no
-- digest.
local function entries(members)
  local ids = {}
  for at, member in ipairs(members) do ids[at] = member:sub(13) end
  local found = {}
  for at, line in ipairs(values_of_many('HMGET', CATALOG, ids)) do
    local unknown = { id = ids[at], owner = '', session = '', derived = '' }
    found[at] = line and entry_of(ids[at], line) or unknown
    found[at].member = members[at]
  end
  return found
end

-- What an operation returns that finds the indexes in a state that it never makes, before it has
-- changed anything.
local DAMAGED = { 'damaged', 'the list of an owner names the record of another' }

-- The entries of a list, oldest first, whose `field` must say `name`, as the list does; nil if it
-- is damaged.
local function entries_in(key, field, name)
  local list = entries(redis.call('ZRANGE', key, 0, -1))
  for _, found in ipairs(list) do
    if found.digest and found[field] ~= name then return nil end
    found[field] = name
  end
  return list
end

-- The API keys of an owner.
local function entries_of(owner) return entries_in(owner_key(owner), 'owner', owner) end

-- The sessions of an owner.
local function sessions_of(owner) return entries_in(sessions_key(owner), 'session', owner) end

-- The records at other token APIs that came of one subject of an origin.
local function derived_from(origin) return entries_in(derived_key(origin), 'derived', origin) end

-- Whether a record is there, live or retired. Its index entries outlive it when it goes by time to
-- live or by hand.
local function is_there(digest)
  return redis.call('EXISTS', record_key(digest), retired_key(digest)) > 0
end

-- Takes these entries out of everything, with their records.
local function erase(list)
  local keys, digests, ids, members, lists = {}, {}, {}, {}, {}
  local function leaves(key, member)
    lists[key] = lists[key] or {}
    table.insert(lists[key], member)
  end
  for _, found in ipairs(list) do
    ids[#ids + 1] = found.id
    members[#members + 1] = found.member
    if found.digest then
      keys[#keys + 1] = record_key(found.digest)
      keys[#keys + 1] = retired_key(found.digest)
      digests[#digests + 1] = found.digest
    end
    if found.owner ~= '' then
      leaves(owner_key(found.owner), found.member)
      leaves(retired_list_key(found.owner), found.member)
    end
    if found.session ~= '' then leaves(sessions_key(found.session), found.member) end
    if found.derived ~= '' then leaves(derived_key(found.derived), found.member) end
  end
  call_for_many('DEL', nil, keys)
  call_for_many('HDEL', CATALOG, ids)
  call_for_many('ZREM', ALL, members)
  call_for_many('ZREM', EXPIRY, members)
  call_for_many('HDEL', USED, digests)
  for key, theirs in pairs(lists) do call_for_many('ZREM', key, theirs) end
end

-- A record to be added, as it stands in ARGV from `first`: digest, id, owner, 'key' or 'session' if
-- it is one of the two, origin and subject in one name or '', issued at, end or '', time to live or
-- '', keys to make or '', last used or '', body.
local function record_at(first)
  local digest, id, owner, sort, derived, issued_at, ends_at, time_to_live, mints, last_used, body =
    unpack(ARGV, first, first + 10)
  return {
    digest = digest,
    id = id,
    owner = owner,
    sort = sort,
    derived = derived,
    issued_at = issued_at,
    ends_at = ends_at,
    time_to_live = time_to_live,
    mints = mints,
    last_used = last_used,
    body = body,
  }
end

-- Whether a record cannot be added for another that has its digest or its id, those with the
-- digests that are the keys of `replaced` apart. Second, what is left in the indexes of a namesake
-- that is gone, or that is to be replaced.
local function conflict(record, replaced)
  local namesake = entry(record.id)
  if is_there(record.digest) and not replaced[record.digest] then return true end
  return namesake and not replaced[namesake.digest] and is_there(namesake.digest), namesake
end

-- The sequence number of what is to be added. A first write that takes memory, on purpose: a full
-- store adds nothing.
local function next_sequence()
  return string.format('%012x', redis.call('HINCRBY', META, 'sequence', 1))
end

-- Adds a record with which nothing is in conflict.
local function insert(record, sequence)
  local key, member = record_key(record.digest), sequence .. record.id
  redis.call('HSET', key, 'b', record.body, 'i', record.id)
  if record.ends_at ~= '' then
    redis.call('HSET', key, 'e', record.ends_at)
    redis.call('ZADD', EXPIRY, record.ends_at, member)
  end
  if record.time_to_live ~= '' then redis.call('PEXPIRE', key, record.time_to_live) end
  if record.mints ~= '' then redis.call('HSET', key, 'm', record.mints) end
  if record.last_used ~= '' then redis.call('HSET', USED, record.digest, record.last_used) end
  local line = record.digest .. sequence
  if record.sort == 'key' then
    line = line .. record.owner
    redis.call('ZADD', owner_key(record.owner), record.issued_at, member)
  elseif record.sort == 'session' then
    line = line .. 's' .. record.owner
    redis.call('ZADD', sessions_key(record.owner), record.issued_at, member)
  end
  if record.derived ~= '' then
    line = line .. 'v' .. record.derived
    redis.call('ZADD', derived_key(record.derived), record.issued_at, member)
  end
  redis.call('HSET', CATALOG, record.id, line)
  redis.call('ZADD', ALL, record.issued_at, member)
end

-- Why the record under `digest` does not authorize anything at `now`; nothing if it does. '' is
-- outside the store and always authorizes. Second, how many keys a bootstrap token has left.
local function refusal(digest, now)
  if digest == '' then return nil end
  local kept = redis.call('HMGET', record_key(digest), 'b', 'e', 'm')
  if not kept[1] or (kept[2] and tonumber(kept[2]) <= tonumber(now)) then return 'gone' end
  return nil, kept[3]
end

-- Entries whose record is there and not retired, and the others. Mostly all are there, and one call
-- says so for many.
local function split(list)
  local there, others = {}, {}
  for first = 1, #list, MANY do
    local last = math.min(first + MANY - 1, #list)
    local keys = {}
    for at = first, last do
      if list[at].digest then keys[#keys + 1] = record_key(list[at].digest) end
    end
    local all_are = #keys == last - first + 1 and redis.call('EXISTS', unpack(keys)) == #keys
    for at = first, last do
      local found = list[at]
      local is = all_are or (found.digest and redis.call('EXISTS', record_key(found.digest)) > 0)
      local to = is and there or others
      to[#to + 1] = found
    end
  end
  return there, others
end

-- The digests of entries.
local function digests_of(list)
  local digests = {}
  for at, found in ipairs(list) do digests[at] = found.digest end
  return digests
end

-- Records as they are kept, with sealed bodies: each as digest, member, id, body, end, keys left,
-- retired at, last used; '' for what is not there. Those that are gone are left out.
local function kept(list)
  local known, rows = {}, {}
  for _, found in ipairs(list) do
    if found.digest then known[#known + 1] = found end
  end
  local used = values_of_many('HMGET', USED, digests_of(known))
  for at, found in ipairs(known) do
    local row = redis.call('HMGET', record_key(found.digest), 'i', 'b', 'e', 'm')
    local retired_at = ''
    if not row[2] then
      row = redis.call('HMGET', retired_key(found.digest), 'i', 'b', 'e', 'm', 'x')
      retired_at = row[5] or '?' -- no number: damage
    end
    if row[2] then
      local id, body, ends_at, mints_left = row[1] or '', row[2], row[3] or '', row[4] or ''
      rows[#rows + 1] =
        { found.digest, found.member, id, body, ends_at, mints_left, retired_at, used[at] or '' }
    end
  end
  return rows
end

-- Retires these API keys of one owner, given oldest first, at `now`: each leaves the records, where
-- tokens are looked up, and goes to the list of retired keys, of which the newest `most` are kept.
-- Of what has expired nothing is left.
local function retire(list, now, most)
  local owner = list[1] and list[1].owner
  if not owner then return end
  local live, over = {}, {}
  for _, found in ipairs(list) do
    local ends_at = redis.call('HGET', record_key(found.digest), 'e')
    local to = ends_at and tonumber(ends_at) <= tonumber(now) and over or live
    to[#to + 1] = found
  end
  for at = 1, #live - most do over[#over + 1] = live[at] end
  erase(over)
  local members, derived = {}, {}
  for at = math.max(1, #live - most + 1), #live do
    local found = live[at]
    local key = retired_key(found.digest)
    redis.call('RENAME', record_key(found.digest), key)
    redis.call('HSET', key, 'x', now)
    redis.call('PERSIST', key)
    redis.call('ZADD', retired_list_key(owner), now, found.member)
    members[#members + 1] = found.member
    if found.derived ~= '' then derived[#derived + 1] = found end
  end
  call_for_many('ZREM', owner_key(owner), members)
  call_for_many('ZREM', EXPIRY, members)
  -- A retired key is not among the live records of its origin and subject. Those are the same for
  -- all of one owner.
  if #derived > 0 then call_for_many('ZREM', derived_key(derived[1].derived), members) end
  local too_many = redis.call('ZCARD', retired_list_key(owner)) - most
  if too_many > 0 then
    erase(entries(redis.call('ZRANGE', retired_list_key(owner), 0, too_many - 1)))
  end
end
