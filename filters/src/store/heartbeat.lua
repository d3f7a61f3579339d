-- One sidecar's sign of life. KEYS[1] is the ZSET of sidecars by the time of their last, in milliseconds; ARGV are this
-- sidecar, how long a sign holds, 1 if it has told all that it had to tell since Redis came (back), and how long ago this
-- sidecar lost Redis. That it has told is a second member, with a plus behind the name. Answers how many live, how many of
-- them come before this one by name, how many have said since this one lost Redis that they have told (what they said
-- before was said of another time), and whether that second member was not there yet.

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
local lost, signs = now - ARGV[4], redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for place = 1, #signs, 2 do
  local sidecar = signs[place]
  if string.sub(sidecar, -1) == '+' then
    if tonumber(signs[place + 1]) >= lost then
      have_told = have_told + 1
    end
  else
    live = live + 1
    if sidecar < ARGV[1] then
      before = before + 1
    end
  end
end
return { live, before, have_told, new }
