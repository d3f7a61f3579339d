-- One page of a scope's stream, KEYS[1], after ARGV[1], of ARGV[2] at most: where it ends, and kind and thing of each.

local found = redis.call('XRANGE', KEYS[1], ARGV[1] == '' and '-' or '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
local items, last = {}, ''
for _, item in ipairs(found) do
  last = item[1]
  items[#items + 1] = item[2][1]
  items[#items + 1] = item[2][2]
end
return { last, items }
