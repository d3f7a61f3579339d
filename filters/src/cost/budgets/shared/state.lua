-- What every script of the budgets begins with. KEYS[1] is the life of this Redis: a name that it keeps until it is
-- emptied, and when that began. Then come the accounts, two keys each: the sums (sum of what all have spent, miss of it
-- that is known of and not told again since Redis lost it, held by open reservations, s:<sidecar> what each has spent,
-- and h:<start> what each holds since it was started), and the reservations (<start>:<lease>:<amount>) by their end.
-- ARGV[1] is the life that the sidecar knows, if any, ARGV[2] the name of its start, which names a new life, too, ARGV[3]
-- how long a reservation holds, ARGV[4] the sidecar.
--
-- Sums are kept by HINCRBY and are exact. Comparisons are made in floating point: beyond 2^53 nano-dollars, which are
-- nine million dollars, they may err by a millionth of a dollar.

local call = redis.call
local YOUNG = 750

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function text(number)
  return string.format('%.0f', number)
end

local life = call('GET', KEYS[1])
if not life then
  life = ARGV[2] .. ':' .. text(now)
  call('SET', KEYS[1], life)
end
local born = tonumber(string.match(life, ':(%d+)$')) or 0
-- While it is young, sidecars may still have to tell it what they hold. A clock that went back is no youth.
local sure = 1
if (now >= born and now - born < YOUNG) or (ARGV[1] ~= '' and ARGV[1] ~= life) then
  sure = 0
end

local spends, holds = 's:' .. ARGV[4], 'h:' .. ARGV[2]
-- When this is, in microseconds: of two answers the later one is known by it.
local when = text(time[1] * 1000000 + time[2])

local function add(key, field, amount)
  return tonumber(call('HINCRBY', key, field, amount))
end

-- Ends a reservation of this text, if it is open.
local function close(key, leases, lease, amount)
  if call('ZREM', leases, lease .. ':' .. amount) == 0 then
    return
  end
  if add(key, 'held', '-' .. amount) < 0 then
    call('HSET', key, 'held', '0')
  end
  local field = 'h:' .. string.match(lease, '^[^:]*')
  if add(key, field, '-' .. amount) <= 0 then
    call('HDEL', key, field)
  end
end

-- Opens one, or lets it hold for longer.
local function open(key, leases, lease, amount, expires)
  if call('ZADD', leases, text(now + ARGV[3]), lease .. ':' .. amount) == 0 then
    return
  end
  add(key, 'held', amount)
  add(key, 'h:' .. string.match(lease, '^[^:]*'), amount)
  if expires ~= '0' and call('ZCARD', leases) == 1 then
    call('PEXPIREAT', leases, expires)
    call('PEXPIREAT', key, expires)
  end
end

-- Appends the sums of an account to the answer, after what is over has lapsed: spent, what is missing of it, held, and
-- what of these is the sidecar's own spending and holding. Returns the sum of the first three. The sidecar has seen so
-- much spent before: if there is less now, Redis has lost some, which counts until it is told again.
local function sums(answer, key, leases, known, expires)
  for _, member in ipairs(call('ZRANGEBYSCORE', leases, '-inf', text(now), 'LIMIT', 0, 100)) do
    close(key, leases, string.match(member, '^(.*):(%d+)$'))
  end
  local got = call('HMGET', key, 'sum', 'miss', 'held', spends, holds)
  for field = 1, 5 do
    got[field] = got[field] or '0'
  end
  local lacks = tonumber(known) - tonumber(got[1]) - tonumber(got[2])
  if lacks > 0 then
    got[2] = call('HINCRBY', key, 'miss', text(lacks))
    if expires ~= '0' then
      call('PEXPIREAT', key, expires)
    end
  end
  if got[3] ~= '0' and call('EXISTS', leases) == 0 then
    call('HSET', key, 'held', '0')
    call('HDEL', key, holds)
    got[3], got[5] = '0', '0'
  end
  for field = 1, 5 do
    answer[#answer + 1] = got[field]
  end
  return tonumber(got[1]) + tonumber(got[2]) + tonumber(got[3])
end
