-- Renews open leases of a living sidecar. ARGV[4..] are kind, window, and "lease:cost:at" of each.

local line = { key = KEYS[1], open = KEYS[2], kind = ARGV[4], window = tonumber(ARGV[5]) }
load(line)
local expiry = text(line.now + lease_time)
for position = 6, #ARGV do
  call('ZADD', line.open, 'XX', expiry, me .. ':' .. ARGV[position])
end
store(line)
keep(line)
return 1
