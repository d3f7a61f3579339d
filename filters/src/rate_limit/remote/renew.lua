-- Renews open leases of a living sidecar. ARGV[3..] are kind, window, and "lease:cost:at" of each.

local line = limit(ARGV[3], KEYS[1], KEYS[2], tonumber(ARGV[4]), 0, 0, 0)
load(line)
for position = 5, #ARGV do
  call('ZADD', line.open, 'XX', line.now + lease_time, me .. ':' .. ARGV[position])
end
store(line)
rare().keep(line)
return 1
