-- Applies the limits of time and deletes what is hidden: ask[5] channels, each its text, the time
-- before which messages are too old and the time before which it is idle (-1 for never),
-- [6] how many messages to delete at most.
-- Reply: epoch, head, mark, how many became hidden, 1 if there is more to delete.
local texts, gone, more, budget = {}, 0, 0, ask[6]
for i, one in ipairs(ask[5]) do texts[i] = one[1] end
local changed = {}
for i, c in ipairs(load_channels(texts)) do
  local too_old, idle = ask[5][i][2], ask[5][i][3]
  local count = 0
  if idle >= 0 and c.at < idle then
    count = raise_floor(c, c.last)
  elseif too_old >= 0 and c.floor < c.last and c.oldest < too_old then
    count = raise_floor(c, age_floor(c, too_old))
  end
  gone = gone + count
  local deleted = erase_hidden(c, budget)
  budget = budget - deleted
  if c.erased < c.floor then more = 1 end
  if count + deleted > 0 then changed[#changed + 1] = c end
end
if #changed > 0 then
  save_channels(changed)
  save_line()
end
return { epoch, head, mark, gone, more }
