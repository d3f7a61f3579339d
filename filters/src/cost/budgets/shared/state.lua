-- What every script of the budgets begins with. KEYS[1] is the life of this Redis: a name that it keeps until it is
-- emptied, and when that began. Then come the accounts, two keys each: the sums (sum of what all have spent, miss of it
-- that is known of and not told again since Redis lost it, held by open reservations, and s:<sidecar> what each has
-- spent), and the reservations (<lease>:<amount>) by the time of their end.
-- ARGV[1] is the life that the sidecar knows, if any, ARGV[2] a name for a new one, ARGV[3] how long a reservation holds.
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

local function add(key, field, amount)
  return tonumber(call('HINCRBY', key, field, amount))
end

-- Ends a reservation of this text, if it is open.
local function close(key, leases, lease, amount)
  if call('ZREM', leases, lease .. ':' .. amount) == 1 and add(key, 'held', '-' .. amount) < 0 then
    call('HSET', key, 'held', '0')
  end
end

-- Opens one, or lets it hold for longer.
local function open(key, leases, lease, amount, expires)
  if call('ZADD', leases, text(now + ARGV[3]), lease .. ':' .. amount) == 0 then
    return
  end
  add(key, 'held', amount)
  if expires ~= '0' and call('ZCARD', leases) == 1 then
    call('PEXPIREAT', leases, expires)
    call('PEXPIREAT', key, expires)
  end
end

-- The sums of an account, after what is over has lapsed: spent, what is missing of it, held. The sidecar has seen so
-- much spent before: if there is less now, Redis has lost some, which counts until it is told again.
local function sums(key, leases, known, expires)
  for _, member in ipairs(call('ZRANGEBYSCORE', leases, '-inf', text(now), 'LIMIT', 0, 100)) do
    close(key, leases, string.match(member, '^(.*):(%d+)$'))
  end
  local got = call('HMGET', key, 'sum', 'miss', 'held')
  local sum, miss, held = got[1] or '0', got[2] or '0', got[3] or '0'
  local lacks = tonumber(known) - tonumber(sum) - tonumber(miss)
  if lacks > 0 then
    miss = call('HINCRBY', key, 'miss', text(lacks))
    if expires ~= '0' then
      call('PEXPIREAT', key, expires)
    end
  end
  if held ~= '0' and call('EXISTS', leases) == 0 then
    call('HSET', key, 'held', '0')
    held = '0'
  end
  return sum, miss, held
end
