-- Keeps rules that were lost, and tells those that were not known. ARGV[3] is the sender; then come what each is about,
-- its era, and until when.

for at = 4, #ARGV, 3 do
  if raise(ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])) then
    tell(ARGV[3], 'r', ARGV[at + 1] .. ' ' .. ARGV[at + 2] .. ' ' .. ARGV[at])
  end
end
bound(ARGV[3])
return 1
