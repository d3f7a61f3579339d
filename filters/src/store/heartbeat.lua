-- One sidecar's sign of life. KEYS[1] is the ZSET of sidecars by the time of their last, in milliseconds; ARGV are this
-- sidecar, how long a sign holds, and 1 if it has told all that it had to tell since Redis came (back). That is a second
-- member, with a plus behind the name. Answers how many live, how many of them come before this one by name, how many have
-- told, and whether that second member was not there yet.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local holds = tonumber(ARGV[2])
local score, told = string.format('%.0f', now), ARGV[1] .. '+'
redis.call('ZADD', KEYS[1], score, ARGV[1])
local new = 0
if ARGV[3] == '1' then
  new = redis.call('ZADD', KEYS[1], score, told)
else
  redis.call('ZREM', KEYS[1], told)
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - holds))
-- A clock that was set back has left signs in its future.
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('%.0f', now + holds), '+inf')
redis.call('PEXPIRE', KEYS[1], 2 * holds)
local live, before, have_told = 0, 0, 0
for _, sidecar in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if string.sub(sidecar, -1) == '+' then
    have_told = have_told + 1
  else
    live = live + 1
    if sidecar < ARGV[1] then
      before = before + 1
    end
  end
end
return { live, before, have_told, new }
