-- Puts what a request really cost in the place of what it had reserved.
--
-- ARGV[3..] are kind, window, known, lease, the time of the charge, reserved, actual. Answers 1 when done, 0 where the
-- limit has lost what this sidecar charged: the history that is then restored has the real amounts.

local line = limit(ARGV[3], KEYS[1], KEYS[2], tonumber(ARGV[4]), 0, 0, 0)
local reserved, actual = tonumber(ARGV[8]), tonumber(ARGV[9])
load(line)

-- Whether the lease was open. If not, its time was over and all of it was given back.
local function close()
  local cost = line.kind == 'c' and '1' or ARGV[8]
  return call('ZREM', line.open, me .. ':' .. ARGV[6] .. ':' .. cost .. ':' .. ARGV[7]) == 1
end

local due = actual - reserved
if line.kind == 'c' then
  due = 0
  if close() then
    line.sum, line.own, line.touched = line.sum - 1, line.own - 1, true
  end
elseif line.own < tonumber(ARGV[5]) then
  store(line)
  return 0
elseif line.kind == 'r' then
  if close() then
    line.reserved, line.touched = line.reserved - reserved, true
  else
    due = actual
  end
end
if due > 0 then
  put(line, line.now, due)
elseif due < 0 then
  rare().refund(line, tonumber(ARGV[7]), -due)
end
store(line)
return 1
