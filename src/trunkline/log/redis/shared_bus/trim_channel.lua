-- Deletes a channel's messages: ask[5] its name, [6] up to which message id.
-- Reply: epoch, head, mark, how many are gone.
local gone = redis.call('ZREMRANGEBYSCORE', backlog_key(ask[5]), '-inf', ask[6])
return { epoch, head, mark, gone }
