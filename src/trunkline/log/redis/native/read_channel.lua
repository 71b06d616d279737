-- Reads a page of one channel: ask[5] its text, [6] after, [7] limit, [8] bytes.
-- Reply: epoch, head, mark, floor, last id, 1 if that is all, then global ids and values.
local c = load_channels({ ask[5] })[1]
local first = math.min(math.max(ask[6], c.floor), c.last)
local wanted = c.last - first
local reply = { epoch, head, mark, c.floor, c.last, 1 }
if wanted > 0 then
  local start = first - c.erased
  local ids = redis.call('LRANGE', index_key(c.text), start, start + math.min(wanted, ask[7]) - 1)
  if #ids == 0 then error('CORRUPT ' .. c.text .. ' has lost its index') end
  if fetch_messages(reply, ids, ask[7], ask[8]) < wanted then reply[6] = 0 end
end
return reply
