-- Throws an answer away, KEYS[1], and notes it in the stream of its scope, KEYS[2], if there is one. ARGV[1] is its id.

redis.call('DEL', KEYS[1])
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('XADD', KEYS[2], '*', 'g', ARGV[1])
end
return 1
