-- What every script of the shared windows stands on. ARGV[1] is the clock, ARGV[2] this sidecar, ARGV[3] how long a
-- lease holds, in microseconds.
--
-- A limit is a HASH:
--   <number>    a bucket of its window, as "amount:last": what was charged in it, and when last, from its beginning
--   s           the sum of the buckets
--   o, l        the oldest bucket that counts, and when it leaves
--   n           the time of the newest charge
--   r, e        what is reserved by open leases; the earliest time at which one of them may expire
--   c:<sidecar> what that sidecar ever charged here and the bucket of its last charge, as "count:bucket"
-- and, where it has leases, a ZSET of "sidecar:lease:cost:at" by the time at which they expire. Of concurrent requests
-- there are no buckets: s counts the leases, and c those of a sidecar.
--
-- A bucket leaves as a whole, the length of the window after its last charge: so nothing is ever over.

local BUCKETS = 60
-- A clock that went back this many buckets is not jitter: what is stored lies in its future.
local BACKWARD = 3
-- Leases swept by one call at most; the next goes on.
local SWEEP = 1000

local call, floor, ceil, max, min = redis.call, math.floor, math.ceil, math.max, math.min
local match = string.match

-- Lua writes numbers with 14 digits, which is too few for microseconds.
local function text(number)
  return string.format('%.0f', number)
end

local now = tonumber(ARGV[1])
if now == 0 then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end
local me, lease_time = ARGV[2], tonumber(ARGV[3])

-- The amount of a bucket, and the time of its last charge.
local function parse(line, bucket, value)
  if not value then
    return 0, 0
  end
  local amount, last = match(value, '^(%d+):(%d+)$')
  return tonumber(amount), bucket * line.width + last
end

-- Calls see(bucket, amount, last) for the buckets of a range that are there, until it answers true.
local function walk(line, from, to, see)
  while from <= to do
    local names = {}
    for bucket = from, min(from + 15, to) do
      names[#names + 1] = text(bucket)
    end
    local values = call('HMGET', line.key, unpack(names))
    for offset = 1, #names do
      local bucket = from + offset - 1
      if values[offset] and see(bucket, parse(line, bucket, values[offset])) then
        return
      end
    end
    from = from + #names
  end
end

-- Takes back up to `amount` from the bucket of a time; what has left the window is past anyway.
local function refund(line, at, amount)
  local bucket = floor(at / line.width)
  local there, last = line.here, line.last
  if bucket ~= line.index then
    there, last = parse(line, bucket, call('HGET', line.key, text(bucket)))
  end
  local taken = min(there, amount)
  if taken <= 0 then
    return
  end
  if bucket == line.index then
    line.here = there - taken
  else
    call('HSET', line.key, text(bucket), text(there - taken) .. ':' .. text(last - bucket * line.width))
  end
  line.sum = line.sum - taken
  line.touched = true
end

-- Charges an amount at a time within the window.
local function put(line, at, amount)
  local bucket = floor(at / line.width)
  local last
  if bucket == line.index then
    line.here, line.last = line.here + amount, max(line.last, at)
    last = line.last
  else
    local there
    there, last = parse(line, bucket, call('HGET', line.key, text(bucket)))
    last = max(last, at)
    call('HSET', line.key, text(bucket), text(there + amount) .. ':' .. text(last - bucket * line.width))
  end
  if not line.oldest or bucket <= line.oldest then
    line.oldest, line.leaves = bucket, last + line.window
  end
  line.newest = max(line.newest, at)
  line.sum = line.sum + amount
  line.touched, line.moved = true, true
end

-- Lets the buckets go that have left the window.
local function age(line)
  local gone, last = {}, floor(line.newest / line.width)
  local oldest, leaves
  if line.newest + line.window <= line.now then
    for bucket = line.oldest, last do
      gone[#gone + 1] = text(bucket)
    end
    line.sum = 0
  else
    walk(line, line.oldest, last, function(bucket, amount, charged)
      if amount > 0 and charged + line.window > line.now then
        oldest, leaves = bucket, charged + line.window
        return true
      end
      line.sum = line.sum - amount
      gone[#gone + 1] = text(bucket)
    end)
  end
  if not oldest then
    gone[#gone + 1] = 'o'
    gone[#gone + 1] = 'l'
  end
  if #gone > 0 then
    call('HDEL', line.key, unpack(gone))
  end
  line.oldest, line.leaves, line.touched = oldest, leaves, true
end

-- Gives back what expired leases had reserved: whoever held them is dead, or has not been heard of for as long.
local function expire(line)
  local gone = call('ZRANGEBYSCORE', line.open, '-inf', text(line.now), 'LIMIT', 0, SWEEP)
  for _, member in ipairs(gone) do
    local owner, cost, at = match(member, '^([^:]*):[^:]*:(%d+):(%d+)$')
    if line.kind == 'r' then
      line.reserved = line.reserved - cost
      refund(line, tonumber(at), tonumber(cost))
    else
      line.sum = line.sum - 1
      if owner == me then
        line.own = line.own - 1
      elseif call('HINCRBY', line.key, 'c:' .. owner, -1) <= 0 then
        call('HDEL', line.key, 'c:' .. owner)
      end
    end
  end
  if #gone > 0 then
    call('ZREM', line.open, unpack(gone))
  end
  local first = call('ZRANGE', line.open, 0, 0, 'WITHSCORES')
  line.expires = tonumber(first[2]) or 0
  line.touched = true
end

-- Sidecars that charged nothing for a whole window have nothing here that could be lost.
local function forget(line)
  local all = call('HGETALL', line.key)
  for field = 1, #all, 2 do
    local bucket = string.sub(all[field], 1, 2) == 'c:' and match(all[field + 1], ':(%d+)$')
    if bucket and tonumber(bucket) < line.index - BUCKETS - 2 and all[field] ~= line.mine then
      call('HDEL', line.key, all[field])
    end
  end
end

local function get(line)
  return call('HMGET', line.key, 's', 'o', 'l', 'n', 'r', 'e', line.mine, text(line.index))
end

-- Reads a limit and brings it up to now.
local function load(line)
  line.width = ceil((line.kind == 'c' and lease_time or line.window) / BUCKETS)
  line.mine = 'c:' .. me
  line.now, line.index = now, floor(now / line.width)
  local got = get(line)
  local newest, oldest = tonumber(got[4]), tonumber(got[2])
  local from_future = newest and newest - now > BACKWARD * line.width
  -- No window is this long: another one has been given the same key.
  local foreign = oldest and floor(newest / line.width) - oldest > 2 * BUCKETS
  if from_future or foreign then
    call('DEL', line.key, line.open or line.key)
    got, newest, oldest = {}, nil, nil
  elseif newest and newest > now then
    -- Time never runs backward on a limit.
    line.now, line.index = newest, floor(newest / line.width)
    got = get(line)
  end
  line.fresh = not newest or floor(newest / line.width) ~= line.index
  line.sum = tonumber(got[1]) or 0
  line.oldest, line.leaves = oldest, tonumber(got[3])
  line.newest = newest or 0
  line.reserved = tonumber(got[5]) or 0
  line.expires = tonumber(got[6]) or 0
  line.own = got[7] and tonumber(match(got[7], '^%d+')) or 0
  line.here, line.last = parse(line, line.index, got[8])
  if oldest and line.now >= line.leaves then
    age(line)
    line.here, line.last = parse(line, line.index, line.oldest and got[8])
  end
  if newest and line.kind ~= 'c' and floor(newest / line.width / BUCKETS) ~= floor(line.index / BUCKETS) then
    forget(line)
  end
  if line.expires > 0 and line.now >= line.expires then
    expire(line)
  end
  return line
end

-- How long a limit is kept when nothing happens: until all of it has left, and a little over.
local function keep(line)
  local time = line.kind == 'c' and 0 or line.window + 3 * line.width
  if line.open then
    time = time + 2 * lease_time
  end
  time = text(ceil(time / 1000) + 1000)
  call('PEXPIRE', line.key, time)
  if line.open then
    call('PEXPIRE', line.open, time)
  end
end

-- Opens a lease; false where it is open already.
local function open(line, lease, cost, at)
  local expiry = line.now + lease_time
  if call('ZADD', line.open, 'NX', text(expiry), me .. ':' .. lease .. ':' .. text(cost) .. ':' .. text(at)) == 0 then
    return false
  end
  if line.expires == 0 or expiry < line.expires then
    line.expires = expiry
  end
  if line.kind == 'r' then
    line.reserved = line.reserved + cost
  else
    line.sum, line.own, line.newest = line.sum + 1, line.own + 1, line.now
  end
  line.touched, line.moved = true, true
  return true
end

-- Writes a limit back in one call.
local function store(line)
  if not line.touched then
    return
  end
  local fields = { 's', text(line.sum) }
  local function set(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if line.oldest then
    set('o', text(line.oldest))
    set('l', text(line.leaves))
  end
  if line.last > 0 then
    set(text(line.index), text(line.here) .. ':' .. text(line.last - line.index * line.width))
  end
  if line.kind ~= 'c' then
    if line.charged then
      set(line.mine, text(line.own) .. ':' .. text(line.index))
    end
  elseif line.own > 0 then
    set(line.mine, text(line.own))
  else
    call('HDEL', line.key, line.mine)
  end
  if line.open then
    set('r', text(line.reserved))
    set('e', text(line.expires))
  end
  if line.moved then
    set('n', text(line.newest))
  end
  call('HSET', line.key, unpack(fields))
  -- The expiry moves with the newest bucket, so that most calls need not set it.
  if line.moved and line.fresh then
    keep(line)
  end
end

-- How long until `cost` fits: until enough of the oldest has left.
local function retry(line)
  local missing = line.sum + line.cost - line.amount
  if line.cost > line.amount then
    return -1
  end
  if line.kind == 'c' then
    local last = call('ZRANGE', line.open, missing - 1, missing - 1, 'WITHSCORES')
    return max((tonumber(last[2]) or now) - now, 0)
  end
  local leaves = -1
  walk(line, line.oldest, floor(line.newest / line.width), function(_, amount, charged)
    missing = missing - amount
    if missing <= 0 then
      leaves = charged + line.window - now
      return true
    end
  end)
  return leaves
end

-- Seven numbers of a limit: used, reserved, own, until the oldest and until the newest leaves, whether the cost fits,
-- and if not, until it does; -1 stands for none.
local function report(answer, line)
  local oldest, newest = -1, -1
  if line.sum > 0 and line.oldest then
    oldest = line.leaves - now
    newest = line.newest + line.window - now
  end
  local count = #answer
  answer[count + 1] = line.sum
  answer[count + 2] = line.reserved
  answer[count + 3] = line.own
  answer[count + 4] = oldest
  answer[count + 5] = newest
  answer[count + 6] = line.fits and 1 or 0
  answer[count + 7] = line.fits and -1 or retry(line)
end
