-- Admits a request to all of its limits, or to none.
--
-- ARGV[3] is the lease of the request. ARGV[2] goes on with a limit after the other: kind, amount, cost, window, known,
-- and whether it restores; if so, what was stored, how many charges and leases follow, the age and amount of each
-- charge, and of each lease its cost and its number and time as text. KEYS are the limits, each followed by its leases
-- if it has any.
-- Answers 0 admitted, 1 refused, 2 lost; the clock; and seven numbers of each limit.

-- Brings back what Redis has forgotten, unless another request of this sidecar has already done so.
local function restore(line)
  local stored, charges, leases
  stored, charges, leases, place = unpack_numbers('<ddd', packed, place)
  local due = line.own == stored and line.own < line.known
  for _ = 1, charges do
    local ago, amount
    ago, amount, place = unpack_numbers('<dd', packed, place)
    if due and ago < line.window and amount > 0 then
      put(line, line.now - ago, amount)
    end
  end
  for _ = 1, leases do
    local cost, lease, at
    cost, lease, at, place = unpack_numbers('<dss', packed, place)
    if due then
      open(line, lease, cost, at)
    end
  end
  if due then
    if line.kind ~= 'c' then
      line.own = line.known
    end
    line.newest = max(line.newest, 1)
    line.touched, line.moved, line.fresh = true, true, true
  end
end

local lines = {}
local status, key, count = 0, 1, 0
while place <= #packed do
  local kind, amount, cost, window, known, restores
  kind, amount, cost, window, known, restores, place = unpack_numbers('<c1ddddB', packed, place)
  local leases = kind ~= 'w' and KEYS[key + 1] or nil
  local line = limit(kind, KEYS[key], leases, window, amount, kind == 'c' and 1 or cost, known)
  key = key + (leases and 2 or 1)
  load(line)
  if restores == 1 then
    restore(line)
  end
  line.fits = line.sum + line.cost <= line.amount
  if line.own < line.known then
    status = 2
  elseif status == 0 and not line.fits then
    status = 1
  end
  count = count + 1
  lines[count] = line
end

local answer = pack_numbers('<dd', status, now)
for number = 1, count do
  local line = lines[number]
  if status == 0 then
    if line.kind ~= 'c' then
      put(line, line.now, line.cost)
      line.own = line.own + line.cost
    end
    if line.open then
      -- In text Lua writes numbers with 14 digits, too few for microseconds. As arguments they are whole.
      open(line, ARGV[3], line.cost, string.format('%.0f', now))
    end
  end
  store(line)
  answer = answer .. report(line)
end
return answer
