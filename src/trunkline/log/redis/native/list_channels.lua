-- Lists channels in their order: ask[5] the text to start after or '', [6] limit.
-- Reply: epoch, head, mark, then texts and packed states.
local start = ask[5] == '' and '-' or '(' .. ask[5]
local texts = redis.call('ZRANGEBYLEX', P .. 'names', start, '+', 'LIMIT', 0, ask[6])
local reply = { epoch, head, mark }
for first = 1, #texts, CHUNK do
  local upto = math.min(first + CHUNK - 1, #texts)
  local states = redis.call('HMGET', P .. 'channels', unpack(texts, first, upto))
  for i = first, upto do
    reply[#reply + 1] = texts[i]
    reply[#reply + 1] = states[i - first + 1]
  end
end
return reply
