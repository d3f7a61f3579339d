-- Tells what the sidecar has spent and holds. ARGV[5..] are for each account: what it has spent in all, what of that Redis
-- has known before, what it knows to be spent by all, when the keys end (0: never), and how many reservations
-- follow; of each of these its name, what it held and what it holds now, 0 if it is over.
-- All of it may be told again, and changes nothing then. Answers the life, whether its word is the whole truth, when, and of
-- each account what was known of the sidecar's spending before, and the sums.

local answer = { life, sure, when }
local argument = 5

local function spend(key, spent, known, expires)
  local was = call('HGET', key, spends) or '0'
  if tonumber(spent) <= tonumber(was) then
    return was
  end
  if tonumber(known) > tonumber(was) then
    local found = tonumber(known) - tonumber(was)
    local miss = tonumber(call('HGET', key, 'miss') or '0')
    if miss > 0 then
      call('HSET', key, 'miss', text(math.max(0, miss - found)))
    end
  end
  if was ~= '0' then
    add(key, 'sum', '-' .. was)
  end
  add(key, 'sum', spent)
  call('HSET', key, spends, spent)
  if was == '0' and expires ~= '0' then
    call('PEXPIREAT', key, expires)
  end
  return was
end

for at = 1, (#KEYS - 1) / 2 do
  local key, leases = KEYS[at * 2], KEYS[at * 2 + 1]
  local known, expires, count = ARGV[argument + 2], ARGV[argument + 3], tonumber(ARGV[argument + 4])
  local was = spend(key, ARGV[argument], ARGV[argument + 1], expires)
  argument = argument + 5
  for _ = 1, count do
    local lease, held, now_held = ARGV[argument], ARGV[argument + 1], ARGV[argument + 2]
    if held ~= now_held then
      close(key, leases, lease, held)
    end
    if now_held ~= '0' then
      open(key, leases, lease, now_held, expires)
    end
    argument = argument + 3
  end
  answer[#answer + 1] = was
  sums(answer, key, leases, known, expires)
end
return answer
