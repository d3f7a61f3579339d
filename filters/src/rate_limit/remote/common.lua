-- What every script of the shared windows stands on. ARGV[1] is this sidecar; ARGV[2] begins with the clock and with how
-- long a lease holds, in microseconds.
--
-- A limit is a HASH:
--   s           what is charged in its window: the sum of its buckets
--   n, a        the time of the newest charge, and what is in its bucket
--   <number>    each older bucket, as "amount:last": what was charged in it, and when last, from its beginning
--   o, l        the oldest bucket, and when it leaves
--   c:<sidecar> what that sidecar ever charged here
--   f, f:<..>   when to look next for sidecars that charge nothing any more, and what they had charged at the last look
--   r, e        what is reserved by open leases; the earliest time at which one of them may expire
-- and, where it has leases, a ZSET of "sidecar:lease:cost:at" by the time at which they expire. Of concurrent requests
-- there are no buckets: s counts the leases, and c those of a sidecar.
--
-- A bucket leaves as a whole, the length of the window after its last charge: so nothing is ever over. The clock's
-- microseconds are cut off and not rounded, so that two times may lie nearer to each other than they say: a window is
-- held for one more.
--
-- One core runs all of this for all sidecars. Functions and tables are made anew in every run, which costs more than
-- what they do: so what is rarely needed is made when it is, and tables are made with all their fields. Numbers come
-- and go as packed doubles, which are whole up to 2^53, because an argument or an answer of its own for each would cost
-- as much again.

local BUCKETS = 60
-- A clock that went back this many buckets is not jitter: what is stored lies in its future.
local BACKWARD = 3
-- Leases swept by one call at most; the next goes on.
local SWEEP = 1000

local call, floor, ceil, max = redis.call, math.floor, math.ceil, math.max

local unpack_numbers, pack_numbers = struct.unpack, struct.pack

local packed, me = ARGV[2], ARGV[1]
local now, lease_time, place = unpack_numbers('<dd', packed)
if now == 0 then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end
local mine = 'c:' .. me

local made
local function rare()
  if made then
    return made
  end
  local min, match = math.min, string.match
  made = {}

  -- What is in an older bucket, and when it was charged last.
  local function read(line, bucket)
    local amount, last = match(call('HGET', line.key, bucket) or '0:0', '^(%d+):(%d+)$')
    return tonumber(amount), bucket * line.width + last
  end

  local function write(line, bucket, amount, last)
    call('HSET', line.key, bucket, amount .. ':' .. last - bucket * line.width)
  end

  -- Calls see(bucket, amount, last) for the buckets from the oldest to the newest, until it answers true.
  local function walk(line, see)
    local from = line.oldest
    while from < line.bucket do
      local names = {}
      for bucket = from, min(from + 15, line.bucket - 1) do
        names[#names + 1] = bucket
      end
      local values = call('HMGET', line.key, unpack(names))
      for number, bucket in ipairs(names) do
        if values[number] then
          local amount, last = match(values[number], '^(%d+):(%d+)$')
          if see(bucket, tonumber(amount), bucket * line.width + last) then
            return
          end
        end
      end
      from = from + #names
    end
    see(line.bucket, line.here, line.newest)
  end

  -- Lets the buckets go that have left the window.
  function made.age(line)
    local gone = {}
    local oldest, leaves
    if line.newest + line.window <= line.now then
      for bucket = line.oldest, line.bucket - 1 do
        gone[#gone + 1] = bucket
      end
      line.sum, line.here = 0, 0
    else
      walk(line, function(bucket, amount, last)
        if amount > 0 and last + line.window > line.now then
          oldest, leaves = bucket, last + line.window
          return true
        end
        line.sum = line.sum - amount
        if bucket < line.bucket then
          gone[#gone + 1] = bucket
        end
      end)
    end
    if not oldest then
      gone[#gone + 1] = 'o'
      gone[#gone + 1] = 'l'
    end
    if #gone > 0 then
      call('HDEL', line.key, unpack(gone))
    end
    line.oldest, line.leaves = oldest, leaves
    line.touched, line.edge = true, oldest
  end

  -- Takes back up to `amount` from the bucket of a time; what has left the window is past anyway.
  function made.refund(line, at, amount)
    local bucket = floor(at / line.width)
    local taken
    if bucket == line.bucket then
      taken = min(line.here, amount)
      line.here = line.here - taken
    else
      local there, last = read(line, bucket)
      taken = min(there, amount)
      if taken > 0 then
        write(line, bucket, there - taken, last)
      end
    end
    if taken > 0 then
      line.sum = line.sum - taken
      line.touched = true
    end
  end

  -- Charges an amount at an earlier time within the window.
  function made.put_before(line, bucket, at, amount)
    local there, last = read(line, bucket)
    last = max(last, at)
    write(line, bucket, there + amount, last)
    return last
  end

  -- The bucket of the newest charge becomes an older one.
  function made.close(line)
    write(line, line.bucket, line.here, line.newest)
  end

  -- Gives back what expired leases had reserved: whoever held them is dead, or has not been heard of for as long.
  function made.expire(line)
    local gone = call('ZRANGEBYSCORE', line.open, '-inf', line.now, 'LIMIT', 0, SWEEP)
    for _, member in ipairs(gone) do
      local owner, cost, at = match(member, '^([^:]*):[^:]*:(%d+):(%d+)$')
      if line.kind == 'r' then
        line.reserved = line.reserved - cost
        made.refund(line, tonumber(at), tonumber(cost))
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
  function made.forget(line)
    local all, seen = call('HGETALL', line.key), {}
    for field = 1, #all, 2 do
      seen[all[field]] = all[field + 1]
    end
    for field, charged in pairs(seen) do
      local sidecar = match(field, '^c:(.*)$')
      if sidecar and sidecar ~= me then
        if seen['f:' .. sidecar] == charged then
          call('HDEL', line.key, field, 'f:' .. sidecar)
        else
          call('HSET', line.key, 'f:' .. sidecar, charged)
        end
      end
    end
    call('HSET', line.key, 'f', line.now + line.window + 2 * line.width)
  end

  -- Keeps a limit until all of it has left, and a little over.
  function made.keep(line)
    local time = line.kind == 'c' and 0 or line.window + 3 * line.width
    if line.open then
      time = time + 2 * lease_time
    end
    time = ceil(time / 1000) + 1000
    call('PEXPIRE', line.key, time)
    if line.open then
      call('PEXPIRE', line.open, time)
    end
  end

  -- How long until `cost` fits: until enough of the oldest has left.
  function made.retry(line)
    local missing = line.sum + line.cost - line.amount
    if line.cost > line.amount then
      return -1
    end
    if line.kind == 'c' then
      local last = call('ZRANGE', line.open, missing - 1, missing - 1, 'WITHSCORES')
      return max((tonumber(last[2]) or now) - now, 0)
    end
    local leaves = -1
    walk(line, function(_, amount, last)
      missing = missing - amount
      if missing <= 0 then
        leaves = last + line.window - now
        return true
      end
    end)
    return leaves
  end

  return made
end

-- A limit as it is asked for, with room for what is read.
local function limit(kind, key, open, window, amount, cost, known)
  return {
    kind = kind, key = key, open = open, window = window + 1, amount = amount, cost = cost, known = known, fits = true,
    width = 0, now = now, sum = 0, newest = 0, bucket = 0, here = 0, oldest = nil, leaves = nil, own = 0,
    reserved = 0, expires = 0, touched = false, moved = false, fresh = false, edge = false,
  }
end

-- Reads a limit and brings it up to now.
local function load(line)
  local key, open, window = line.key, line.open, line.window
  local width = max(ceil((line.kind == 'c' and lease_time or window - 1) / BUCKETS), 1000)
  line.width = width
  local got
  if open then
    got = call('HMGET', key, 's', 'n', 'a', 'o', 'l', mine, 'f', 'r', 'e')
  else
    got = call('HMGET', key, 's', 'n', 'a', 'o', 'l', mine, 'f')
  end
  local newest = tonumber(got[2])
  if not newest then
    return
  end
  local bucket, oldest = floor(newest / width), tonumber(got[4])
  -- No window is as long as the second says: another one has been given the same key.
  if newest - now > BACKWARD * width or (oldest and bucket - oldest > 2 * BUCKETS) then
    call('DEL', key, open or key)
    return
  end
  -- Time never runs backward on a limit.
  local time = max(now, newest)
  line.now, line.newest, line.bucket, line.oldest = time, newest, bucket, oldest
  line.sum, line.here, line.own = tonumber(got[1]) or 0, tonumber(got[3]) or 0, tonumber(got[6]) or 0
  if oldest then
    line.leaves = tonumber(got[5])
    if time >= line.leaves then
      rare().age(line)
    end
  end
  if line.kind ~= 'c' and time >= (tonumber(got[7]) or 0) then
    rare().forget(line)
  end
  if open then
    line.reserved, line.expires = tonumber(got[8]) or 0, tonumber(got[9]) or 0
    if line.expires > 0 and time >= line.expires then
      rare().expire(line)
    end
  end
end

-- Charges an amount at a time within the window.
local function put(line, at, amount)
  local bucket, last = floor(at / line.width), at
  if bucket > line.bucket then
    if line.here > 0 then
      rare().close(line)
    end
    line.bucket, line.newest, line.here, line.fresh = bucket, at, amount, true
  elseif bucket == line.bucket then
    last = max(line.newest, at)
    line.newest, line.here = last, line.here + amount
  else
    last = rare().put_before(line, bucket, at, amount)
  end
  if not line.oldest or bucket <= line.oldest then
    line.oldest, line.leaves, line.edge = bucket, last + line.window, true
  end
  line.sum = line.sum + amount
  line.touched, line.moved = true, true
end

-- Opens a lease; false where it is open already. `at` is text.
local function open(line, lease, cost, at)
  local expiry = line.now + lease_time
  if call('ZADD', line.open, 'NX', expiry, me .. ':' .. lease .. ':' .. cost .. ':' .. at) == 0 then
    return
  end
  if line.expires == 0 or expiry < line.expires then
    line.expires = expiry
  end
  if line.kind == 'r' then
    line.reserved = line.reserved + cost
  else
    local bucket = floor(line.now / line.width)
    line.sum, line.own, line.fresh = line.sum + 1, line.own + 1, line.fresh or bucket ~= line.bucket
    line.newest, line.bucket = line.now, bucket
  end
  line.touched, line.moved = true, true
end

-- Writes a limit back in one call.
local function store(line)
  if not line.touched then
    return
  end
  local key = line.key
  if line.kind == 'w' then
    if line.edge then
      call('HSET', key, 's', line.sum, 'n', line.newest, 'a', line.here, mine, line.own, 'o', line.oldest, 'l', line.leaves)
    else
      call('HSET', key, 's', line.sum, 'n', line.newest, 'a', line.here, mine, line.own)
    end
  elseif line.kind == 'r' then
    call('HSET', key, 's', line.sum, 'n', line.newest, 'a', line.here, mine, line.own, 'r', line.reserved,
      'e', line.expires)
    if line.edge then
      call('HSET', key, 'o', line.oldest, 'l', line.leaves)
    end
  else
    call('HSET', key, 's', line.sum, 'n', line.newest, mine, line.own, 'e', line.expires)
    if line.own <= 0 then
      call('HDEL', key, mine)
    end
  end
  -- The expiry moves with the newest bucket, so that most calls need not set it.
  if line.moved and line.fresh then
    rare().keep(line)
  end
end

-- Seven numbers of a limit: used, reserved, own, until the oldest and until the newest leaves, whether the cost fits,
-- and if not, until it does; -1 stands for none.
local function report(line)
  local oldest, newest, fits, retry = -1, -1, 1, -1
  if line.sum > 0 and line.oldest then
    oldest, newest = line.leaves - now, line.newest + line.window - now
  end
  if not line.fits then
    fits, retry = 0, rare().retry(line)
  end
  return pack_numbers('<ddddddd', line.sum, line.reserved, line.own, oldest, newest, fits, retry)
end
