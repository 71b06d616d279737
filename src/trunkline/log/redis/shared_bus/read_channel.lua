-- Reads a page of one channel: ask[5] its name, [6] after, [7] limit, [8] bytes.
-- Reply: epoch, head, mark, floor, last id, 1 if that is all, then message texts.
local last, floor = find_floors(ask[5])
local texts = redis.call('ZRANGEBYSCORE', backlog_key(ask[5]), '(' .. ask[6], '+inf',
                         'LIMIT', 0, ask[7] + 1)
local reply, size = { epoch, head, mark, floor, last, 1 }, 0
for i, text in ipairs(texts) do
  size = size + #text
  if i > 1 and (i > ask[7] or size > ask[8]) then
    reply[6] = 0
    break
  end
  reply[#reply + 1] = text
end
return reply
