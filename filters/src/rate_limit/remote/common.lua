-- What every script of the shared windows stands on. ARGV[1] is the clock, ARGV[2] this sidecar, ARGV[3] how long a
-- lease holds, in microseconds.
--
-- A limit is a HASH:
--   <number>    what was charged in the bucket of that number
--   s, o, h     the sum of the buckets, the oldest one that counts, the newest one
--   r, e        what is reserved by open leases; the earliest time at which one of them may expire
--   c:<sidecar> what that sidecar ever charged here and the bucket of its last charge, as "count:bucket"
-- and, where it has leases, a ZSET of "sidecar:lease:cost:at" by the time at which they expire.
--
-- A window counts the bucket of now and the BUCKETS before it, one more than it is long, so that nothing is ever over.

local BUCKETS = 60
-- A clock that went back this far is not jitter: what is stored lies in its future and can't be told from the present.
local BACKWARD = 3
-- Leases swept by one call at most; the next goes on.
local SWEEP = 1000

local call, floor, ceil, max, min = redis.call, math.floor, math.ceil, math.max, math.min

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

local function width_of(line)
  return line.kind == 'c' and ceil(lease_time / BUCKETS) or ceil(line.window / BUCKETS)
end

-- Calls see(bucket, amount) for the buckets of a range, until it answers true.
local function walk(line, from, to, see)
  while from <= to do
    local last = min(from + 15, to)
    local names = {}
    for bucket = from, last do
      names[#names + 1] = text(bucket)
    end
    local amounts = call('HMGET', line.key, unpack(names))
    for offset = 1, #names do
      local amount = tonumber(amounts[offset])
      if amount and see(from + offset - 1, amount) then
        return
      end
    end
    from = last + 1
  end
end

-- Takes back up to `amount` from a bucket that still counts; what has left the window is past anyway.
local function refund(line, bucket, amount)
  if bucket < line.first or bucket > line.index then
    return
  end
  local there = bucket == line.index and line.here or tonumber(call('HGET', line.key, text(bucket))) or 0
  local taken = min(there, amount)
  if taken > 0 then
    call('HINCRBY', line.key, text(bucket), text(-taken))
    line.sum = line.sum - taken
    if bucket == line.index then
      line.here = line.here - taken
    end
    line.touched = true
  end
end

-- Lets the buckets go that have left the window.
local function age(line)
  if line.newest < line.first then
    local names = {}
    for bucket = max(line.oldest, line.newest - BUCKETS - 1), line.newest do
      names[#names + 1] = text(bucket)
    end
    if #names > 0 then
      call('HDEL', line.key, unpack(names))
      line.touched = true
    end
    line.sum, line.oldest = 0, line.index
  elseif line.oldest < line.first then
    local gone = {}
    local oldest = line.index
    walk(line, line.oldest, line.newest, function(bucket, amount)
      if bucket < line.first then
        line.sum = line.sum - amount
        gone[#gone + 1] = text(bucket)
      elseif amount > 0 then
        oldest = bucket
        return true
      end
    end)
    if #gone > 0 then
      call('HDEL', line.key, unpack(gone))
    end
    line.oldest, line.touched = oldest, true
  end
end

-- Gives back what expired leases had reserved: whoever held them is dead, or has not been heard of for as long.
local function expire(line)
  local gone = call('ZRANGEBYSCORE', line.open, '-inf', text(line.now), 'LIMIT', 0, SWEEP)
  for _, member in ipairs(gone) do
    local owner, cost, at = string.match(member, '^([^:]*):[^:]*:(%d+):(%d+)$')
    if line.kind == 'c' then
      line.sum = line.sum - 1
      if owner == me then
        line.own = line.own - 1
      elseif call('HINCRBY', line.key, 'c:' .. owner, -1) <= 0 then
        call('HDEL', line.key, 'c:' .. owner)
      end
    else
      line.reserved = line.reserved - cost
      refund(line, floor(at / line.width), tonumber(cost))
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
    local bucket = string.sub(all[field], 1, 2) == 'c:' and string.match(all[field + 1], ':(%d+)$')
    if bucket and tonumber(bucket) < line.first - 1 and all[field] ~= line.mine then
      call('HDEL', line.key, all[field])
    end
  end
end

-- Reads a limit and brings it up to now.
local function load(line)
  line.width = width_of(line)
  line.index = floor(now / line.width)
  line.mine = 'c:' .. me
  local got = call('HMGET', line.key, 's', 'o', 'h', 'r', 'e', line.mine, text(line.index))
  local newest = tonumber(got[3])
  if newest and newest - line.index > BACKWARD then
    call('DEL', line.key)
    if line.open then
      call('DEL', line.open)
    end
    got, newest = {}, nil
  elseif newest and newest > line.index then
    -- Time never runs backward on a limit.
    line.index = newest
    got[7] = call('HGET', line.key, text(newest))
  end
  line.now = max(now, line.index * line.width)
  line.first = line.index - BUCKETS
  line.fresh = newest ~= line.index
  line.newest = newest or line.index
  line.sum = tonumber(got[1]) or 0
  line.oldest = tonumber(got[2]) or line.index
  line.reserved = tonumber(got[4]) or 0
  line.expires = tonumber(got[5]) or 0
  line.own = got[6] and tonumber(line.kind == 'c' and got[6] or string.match(got[6], '^%d+')) or 0
  line.here = tonumber(got[7]) or 0
  if line.kind ~= 'c' then
    age(line)
    if newest and line.fresh and floor(newest / BUCKETS) ~= floor(line.index / BUCKETS) then
      forget(line)
    end
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

-- Puts an amount into a bucket that counts.
local function put(line, bucket, amount)
  if line.sum == 0 or bucket < line.oldest then
    line.oldest = bucket
  end
  line.sum = line.sum + amount
  if bucket == line.index then
    line.here = line.here + amount
  else
    call('HINCRBY', line.key, text(bucket), text(amount))
  end
  line.touched = true
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
  line.touched = true
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
  if line.kind == 'c' then
    if line.own > 0 then
      set(line.mine, text(line.own))
    else
      call('HDEL', line.key, line.mine)
    end
  else
    set('o', text(line.oldest))
    if line.here > 0 then
      set(text(line.index), text(line.here))
    end
    if line.charged then
      set(line.mine, text(line.own) .. ':' .. text(line.index))
    end
  end
  if line.open then
    set('r', text(line.reserved))
    set('e', text(line.expires))
  end
  -- The expiry moves with the newest bucket, so that most calls need not set it.
  local kept = line.fresh and (line.sum > 0 or line.reserved > 0)
  if kept then
    set('h', text(line.index))
  end
  call('HSET', line.key, unpack(fields))
  if kept then
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
  walk(line, line.oldest, line.index, function(bucket, amount)
    missing = missing - amount
    if missing <= 0 then
      leaves = (bucket + BUCKETS + 1) * line.width - now
      return true
    end
  end)
  return leaves
end

-- Seven numbers of a limit: used, reserved, own, until the oldest and until the newest leaves, whether the cost fits,
-- and if not, until it does; -1 stands for none.
local function report(answer, line)
  local oldest, newest = -1, -1
  if line.sum > 0 and line.kind ~= 'c' then
    oldest = (line.oldest + BUCKETS + 1) * line.width - now
    newest = ((line.here > 0 and line.index or line.newest) + BUCKETS + 1) * line.width - now
  end
  local count = #answer
  answer[count + 1] = line.sum
  answer[count + 2] = line.kind == 'r' and line.reserved or 0
  answer[count + 3] = line.own
  answer[count + 4] = oldest
  answer[count + 5] = newest
  answer[count + 6] = line.fits and 1 or 0
  answer[count + 7] = line.fits and -1 or retry(line)
end
