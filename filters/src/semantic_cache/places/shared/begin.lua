-- Where the news begin now: generation, its beginning, their number, and three texts of each rule that is in force.

local rules, past = {}, {}
each_rule(function(what, of, till)
  if till > now then
    rules[#rules + 1] = what
    rules[#rules + 1] = text(of)
    rules[#rules + 1] = text(till)
  else
    past[#past + 1] = 'r:' .. what
  end
end)
for _, field in ipairs(past) do
  call('HDEL', KEYS[1], field)
end
local got = call('HMGET', KEYS[1], 'g', 'b', 'n')
return { got[1], got[2], got[3], rules }
