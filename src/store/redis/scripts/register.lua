-- Adds an account, if its names are free; after announce.lua and records.lua.
--
-- KEYS: 7 the account, 8 usernames, 9 email addresses, 10 accounts. ARGV: 4 token API, 5 id, 6
-- username, 7 email address, 8 when it was registered, 9 body. Returns 'registered', 'username',
-- 'email' or 'conflict'.
local ACCOUNT, USERNAMES, EMAILS, ACCOUNTS = KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local TOKEN_API, ID, USERNAME, EMAIL, CREATED_AT, BODY = unpack(ARGV, 4, 9)

if redis.call('HGET', USERNAMES, USERNAME) then return { 'username' } end
if redis.call('HGET', EMAILS, EMAIL) then return { 'email' } end
if redis.call('EXISTS', ACCOUNT) > 0 then return { 'conflict' } end
local sequence = next_sequence()
redis.call('HSET', ACCOUNT, 'b', BODY)
redis.call('HSET', USERNAMES, USERNAME, ID)
redis.call('HSET', EMAILS, EMAIL, ID)
redis.call('ZADD', ACCOUNTS, CREATED_AT, sequence .. TOKEN_API .. ID)
return { 'registered' }
