-- What is used of one limit, without asking anything of it. ARGV[4..] are kind, amount, window.

local line = { key = KEYS[1], open = KEYS[2], kind = ARGV[4], amount = tonumber(ARGV[5]), window = tonumber(ARGV[6]) }
line.cost, line.known = 0, 0
load(line)
line.fits = true
store(line)
local answer = { 0, now }
report(answer, line)
return answer
