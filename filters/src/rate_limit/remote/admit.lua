-- Admits a request to all of its limits, or to none.
--
-- ARGV[4] is the lease of the request, ARGV[5] the number of limits; then for each limit: kind, amount, cost, window,
-- known, and what to restore: "-", or what was stored, the number of charges with age and amount for each, the number
-- of leases with number, cost and time for each. KEYS are the limits, each followed by its leases if it has any.
-- Answers 0 admitted, 1 refused, 2 lost; the clock; and of each limit seven numbers, or if lost what is stored.

-- Brings back what Redis has forgotten, unless another request of this sidecar has already done so. Answers the place
-- of the next limit.
local function restore(line, place)
  local due = line.own == tonumber(ARGV[place]) and line.own < line.known
  local charges = tonumber(ARGV[place + 1])
  place = place + 2
  for _ = 1, charges do
    local ago, amount = tonumber(ARGV[place]), tonumber(ARGV[place + 1])
    if due and ago < line.window and amount > 0 then
      put(line, line.now - ago, amount)
    end
    place = place + 2
  end
  local leases = tonumber(ARGV[place])
  place = place + 1
  for _ = 1, leases do
    if due then
      open(line, ARGV[place], tonumber(ARGV[place + 1]), ARGV[place + 2])
    end
    place = place + 3
  end
  if due then
    if line.kind ~= 'c' then
      line.own = line.known
    end
    line.newest = max(line.newest, 1)
    line.touched, line.moved, line.fresh = true, true, true
  end
  return place
end

local lines = {}
local status, place, key = 0, 6, 1
for number = 1, tonumber(ARGV[5]) do
  local kind = ARGV[place]
  local leases = kind ~= 'w' and KEYS[key + 1] or nil
  local cost = kind == 'c' and 1 or tonumber(ARGV[place + 2])
  local window, known = tonumber(ARGV[place + 3]), tonumber(ARGV[place + 4])
  local line = limit(kind, KEYS[key], leases, window, tonumber(ARGV[place + 1]), cost, known)
  key = key + (leases and 2 or 1)
  load(line)
  place = place + 5
  if ARGV[place] == '-' then
    place = place + 1
  else
    place = restore(line, place)
  end
  line.fits = line.sum + line.cost <= line.amount
  if line.own < line.known then
    status = 2
  elseif status == 0 and not line.fits then
    status = 1
  end
  lines[number] = line
end

local answer = { status, now }
for number, line in ipairs(lines) do
  if status == 0 then
    if line.kind ~= 'c' then
      put(line, line.now, line.cost)
      line.own = line.own + line.cost
    end
    if line.open then
      -- In text Lua writes numbers with 14 digits, too few for microseconds. As arguments they are whole.
      open(line, ARGV[4], line.cost, string.format('%.0f', now))
    end
  end
  store(line)
  if status == 2 then
    answer[number + 2] = line.own
  else
    answer[number + 2] = report(line)
  end
end
return answer
