-- What is used of one limit, without asking anything of it. ARGV[3..] are kind, amount, window.

local line = limit(ARGV[3], KEYS[1], KEYS[2], tonumber(ARGV[5]), tonumber(ARGV[4]), 0, 0)
load(line)
store(line)
return report(line)
