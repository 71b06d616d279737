-- Forgets idempotency keys from before ask[5], at most ask[6] of them.
-- Reply: epoch, head, mark, how many.
local fields = redis.call('ZRANGEBYSCORE', P .. 'key_times', '-inf',
                          '(' .. string.format('%.17g', ask[5]), 'LIMIT', 0, ask[6])
by_chunks('HDEL', P .. 'keys', fields)
by_chunks('ZREM', P .. 'key_times', fields)
return { epoch, head, mark, #fields }
