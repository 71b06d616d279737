-- Reads the last ids of some channels: ask[5] their names.
-- Reply: epoch, head, mark, then the ids.
local reply = { epoch, head, mark }
for _, name in ipairs(ask[5]) do
  reply[#reply + 1] = tonumber(redis.call('GET', counter_key(name)) or 0)
end
return reply
