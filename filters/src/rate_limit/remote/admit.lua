-- Admits a request to all of its limits, or to none.
--
-- ARGV[4] is the lease of the request, ARGV[5] the number of limits; then for each limit: kind, amount, cost, window,
-- known, and what to restore: "-", or what was stored, the number of charges with age and amount for each, the number
-- of leases with number, cost and time for each. KEYS are the limits, each followed by its leases if it has any.
-- Answers 0 admitted, 1 refused, 2 lost; the clock; and seven numbers of each limit, of lost ones what is stored.

local position, key = 5, 0
local function take()
  position = position + 1
  return ARGV[position]
end
local function count()
  return tonumber(take())
end

-- Brings back what Redis has forgotten, unless another request of this sidecar has already done so.
local function restore(line, stored)
  local due = line.own == stored and line.own < line.known
  for _ = 1, count() do
    local ago = count()
    local amount = count()
    if due and ago < line.window and amount > 0 then
      put(line, line.now - ago, amount)
    end
  end
  for _ = 1, count() do
    local lease = take()
    local cost = count()
    local at = count()
    if due then
      open(line, lease, cost, at)
    end
  end
  if due then
    if line.kind ~= 'c' then
      line.own = line.known
    end
    line.charged, line.touched, line.moved, line.fresh = true, true, true, true
  end
end

local lease = ARGV[4]
local lines = {}
local status = 0
for number = 1, tonumber(ARGV[5]) do
  key = key + 1
  local line = { key = KEYS[key], kind = take() }
  line.amount = count()
  line.cost = count()
  line.window = count()
  line.known = count()
  if line.kind ~= 'w' then
    key = key + 1
    line.open = KEYS[key]
  end
  if line.kind == 'c' then
    line.cost = 1
  end
  load(line)
  local stored = take()
  if stored ~= '-' then
    restore(line, tonumber(stored))
  end
  line.fits = line.sum + line.cost <= line.amount
  if line.own < line.known then
    status = 2
  elseif not line.fits then
    status = max(status, 1)
  end
  lines[number] = line
end

local answer = { status, now }
for number, line in ipairs(lines) do
  if status == 0 then
    line.charged = true
    if line.kind ~= 'c' then
      put(line, line.now, line.cost)
      line.own = line.own + line.cost
    end
    if line.open then
      open(line, lease, line.cost, now)
    end
  end
  store(line)
  if status == 2 then
    answer[number + 2] = line.own
  else
    report(answer, line)
  end
end
return answer
