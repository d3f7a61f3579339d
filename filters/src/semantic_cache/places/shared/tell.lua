-- Tells the news: ARGV[3..] are sender, kind, and what it is.

tell(ARGV[3], ARGV[4], ARGV[5])
return 1
