-- What every script of the log begins with. KEYS[1] is the state: its generation (g), when that began (b), how many
-- news it has told (n), the latest era (e), and each rule (r:<what> = <era> <until>). KEYS[2] is the log of news.
-- ARGV[1] names the generation that begins where there is none, ARGV[2] is the latest era that the sidecar knows.

local call = redis.call
local LOG, MOST_RULES, KEEP = 20000, 10000, 5184000000

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function text(number)
  return string.format('%.0f', number)
end

if call('HEXISTS', KEYS[1], 'g') == 0 then
  -- One without the other would be half a memory.
  call('DEL', KEYS[1], KEYS[2])
  call('HSET', KEYS[1], 'g', ARGV[1], 'b', text(now), 'n', 0, 'e', 0)
  call('PEXPIRE', KEYS[1], KEEP)
end

local era = tonumber(call('HGET', KEYS[1], 'e')) or 0
if tonumber(ARGV[2]) > era then
  era = tonumber(ARGV[2])
  call('HSET', KEYS[1], 'e', text(era))
end

local function tell(sidecar, kind, news)
  local number = call('HINCRBY', KEYS[1], 'n', 1)
  call('XADD', KEYS[2], 'MAXLEN', '~', LOG, text(number) .. '-0', 's', sidecar, kind, news)
  call('PEXPIRE', KEYS[1], KEEP)
  call('PEXPIRE', KEYS[2], KEEP)
end

-- Keeps a rule, unless one of the same or a later era is known; true if it was not.
local function raise(what, of, till)
  local known = call('HGET', KEYS[1], 'r:' .. what)
  if known and tonumber(string.match(known, '^%d+')) >= of then
    return false
  end
  call('HSET', KEYS[1], 'r:' .. what, text(of) .. ' ' .. text(till))
  return true
end

-- Calls `see` with the name, era and end of each rule.
local function each_rule(see)
  local all = call('HGETALL', KEYS[1])
  for field = 1, #all, 2 do
    local what = string.match(all[field], '^r:(.*)$')
    if what then
      local of, till = string.match(all[field + 1], '^(%d+) (%d+)$')
      see(what, tonumber(of), tonumber(till))
    end
  end
end

-- Makes one rule of the older half where there are too many: it hides more than they did, and nothing less.
local function bound(sidecar)
  if call('HLEN', KEYS[1]) <= MOST_RULES then
    return
  end
  local eras, last = {}, 0
  each_rule(function(_, of)
    eras[#eras + 1] = of
  end)
  table.sort(eras)
  local middle = eras[math.ceil(#eras / 2)]
  each_rule(function(what, of, till)
    if of <= middle then
      last = math.max(last, till)
      call('HDEL', KEYS[1], 'r:' .. what)
    end
  end)
  if raise('all', middle, last) then
    tell(sidecar, 'r', text(middle) .. ' ' .. text(last) .. ' all')
  end
end
