-- What was told after a position: ARGV[3..] are its generation and number, and how much is wanted at a time. Answers how
-- far that is, and sender, kind and news of each; or nothing where what came next is not there any more.

local got = call('HMGET', KEYS[1], 'g', 'n')
local from, last = tonumber(ARGV[4]), tonumber(got[2])
if got[1] ~= ARGV[3] or last < from then
  return false
end
local items = {}
if last > from then
  local found = call('XRANGE', KEYS[2], text(from + 1) .. '-0', '+', 'COUNT', ARGV[5])
  if not found[1] or found[1][1] ~= text(from + 1) .. '-0' then
    return false
  end
  for _, news in ipairs(found) do
    local fields = news[2]
    items[#items + 1] = fields[2]
    items[#items + 1] = fields[3]
    items[#items + 1] = fields[4]
  end
  last = from + #found
end
return { text(last), items }
