-- Begins an era with a rule. ARGV[3..] are the sender, what it is about, and until when. Answers the era.

era = math.max(era + 1, now)
call('HSET', KEYS[1], 'e', text(era))
raise(ARGV[4], era, tonumber(ARGV[5]))
tell(ARGV[3], 'r', text(era) .. ' ' .. ARGV[5] .. ' ' .. ARGV[4])
bound(ARGV[3])
return text(era)
