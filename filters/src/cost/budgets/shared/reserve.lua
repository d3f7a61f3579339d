-- Reserves an amount, ARGV[6], in all accounts or in none, under the name ARGV[5]. Then come for each account its limit,
-- what the sidecar knows to be spent, and when its keys end (0: never).
-- Answers the life, whether its word is the whole truth, when, whether it is reserved, and the sums of each account.

local amount, fits = ARGV[6], sure
local answer = { life, sure, when, 0 }
for at = 1, (#KEYS - 1) / 2 do
  local argument = 4 + at * 3
  local taken = sums(answer, KEYS[at * 2], KEYS[at * 2 + 1], ARGV[argument + 1], ARGV[argument + 2])
  if taken + tonumber(amount) > tonumber(ARGV[argument]) then
    fits = 0
  end
end
if fits == 1 then
  answer[4] = 1
  for at = 1, (#KEYS - 1) / 2 do
    open(KEYS[at * 2], KEYS[at * 2 + 1], ARGV[5], amount, ARGV[6 + at * 3])
  end
end
return answer
