-- What is used of one limit, without asking anything of it. ARGV[4..] are kind, amount, window.

local line = limit(ARGV[4], KEYS[1], KEYS[2], tonumber(ARGV[6]), tonumber(ARGV[5]), 0, 0)
load(line)
store(line)
return report(line)
