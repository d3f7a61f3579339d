-- Reserves an amount, ARGV[5], in all accounts or in none, under the name ARGV[4]. Then come for each account its limit,
-- what the sidecar knows to be spent, and when its keys end (0: never).
-- Answers the life, whether its word is the whole truth, whether it is reserved, and of each account spent, missing, held.

local amount, fits = ARGV[5], sure
local answer = { life, sure, 0 }
for at = 1, (#KEYS - 1) / 2 do
  local argument = 3 + at * 3
  local sum, miss, held = sums(KEYS[at * 2], KEYS[at * 2 + 1], ARGV[argument + 1], ARGV[argument + 2])
  if tonumber(sum) + tonumber(miss) + tonumber(held) + tonumber(amount) > tonumber(ARGV[argument]) then
    fits = 0
  end
  answer[at * 3 + 1], answer[at * 3 + 2], answer[at * 3 + 3] = sum, miss, held
end
if fits == 1 then
  answer[3] = 1
  for at = 1, (#KEYS - 1) / 2 do
    open(KEYS[at * 2], KEYS[at * 2 + 1], ARGV[4], amount, ARGV[5 + at * 3])
  end
end
return answer
