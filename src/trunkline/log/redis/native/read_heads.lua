-- Reads the last ids of some channels: ask[5] their texts.
-- Reply: epoch, head, mark, then the ids.
local reply = { epoch, head, mark }
for _, c in ipairs(load_channels(ask[5])) do reply[#reply + 1] = c.last end
return reply
