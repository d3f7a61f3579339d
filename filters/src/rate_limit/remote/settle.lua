-- Puts what a request really cost in the place of what it had reserved.
--
-- ARGV[4..] are kind, window, known, lease, the time of the charge, reserved, actual. Answers 1 when done, 0 where the
-- limit has lost what this sidecar charged: the history that is then restored has the real amounts.

local line = { key = KEYS[1], open = KEYS[2], kind = ARGV[4], window = tonumber(ARGV[5]) }
local known, lease, at = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
local reserved, actual = tonumber(ARGV[9]), tonumber(ARGV[10])

load(line)
local due = actual - reserved
local done = 1
if line.kind == 'c' then
  if call('ZREM', line.open, me .. ':' .. lease .. ':1:' .. text(at)) == 1 then
    line.sum, line.own, line.touched = line.sum - 1, line.own - 1, true
  end
  due = 0
elseif line.own < known then
  due, done = 0, 0
elseif line.kind == 'r' then
  if call('ZREM', line.open, me .. ':' .. lease .. ':' .. text(reserved) .. ':' .. text(at)) == 1 then
    line.reserved, line.touched = line.reserved - reserved, true
  else
    -- Its time was over and all of it was given back.
    due = actual
  end
end
if due > 0 then
  put(line, line.now, due)
elseif due < 0 then
  refund(line, at, -due)
end
store(line)
return done
