-- Hides a channel's messages: ask[5] its text, [6] up to which message id.
-- Reply: epoch, head, mark, how many that were readable are gone.
local c = load_channels({ ask[5] })[1]
local gone = raise_floor(c, ask[6])
if gone > 0 then
  save_channels({ c })
  save_line()
end
return { epoch, head, mark, gone }
