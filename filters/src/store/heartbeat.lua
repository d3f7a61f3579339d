-- One sidecar's sign of life. KEYS[1] is the ZSET of sidecars by the time of their last, in milliseconds; ARGV are this
-- sidecar and how long a sign holds. Answers how many live, and how many of them come before this one by name.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local holds = tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - holds))
-- A clock that was set back has left signs in its future.
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('%.0f', now + holds), '+inf')
redis.call('PEXPIRE', KEYS[1], 2 * holds)
local all = redis.call('ZRANGE', KEYS[1], 0, -1)
local before = 0
for _, sidecar in ipairs(all) do
  if sidecar < ARGV[1] then
    before = before + 1
  end
end
return { #all, before }
