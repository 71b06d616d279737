-- One message as a script of its own: dense ids, kept in a sorted set, listeners told.
local global_id = redis.call('INCR', 'bench:head')
local message_id = redis.call('HINCRBY', 'bench:last', ARGV[1], 1)
redis.call('ZADD', 'bench:backlog:' .. ARGV[1], message_id, global_id .. ' ' .. ARGV[2])
redis.call('PUBLISH', 'bench:news', global_id)
return message_id
