-- Adds to the stream of a scope, KEYS[1]. ARGV are how many it keeps, for how many milliseconds, the kind and the thing.

redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', ARGV[3], ARGV[4])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1
