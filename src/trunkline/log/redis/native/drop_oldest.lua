-- Hides the oldest messages over the line's cap: ask[5] the cap, [6] how many at most.
-- Reply: epoch, head, mark, how many became hidden, then the channels that have some now.
local excess = math.min(kept - ask[5], ask[6])
local upto, texts, states, count = {}, {}, {}, 0

local function look_at(value)
  local message_id, text = name_of(value)
  if not states[text] then
    states[text] = load_channels({ text })[1]
  end
  if message_id > states[text].floor then
    if not upto[text] then texts[#texts + 1] = text end
    upto[text] = message_id
    count = count + 1
  end
end

if excess > 0 then
  for _, number in ipairs(redis.call('ZRANGE', P .. 'blocks', 0, 200)) do
    local ids = redis.call('HKEYS', P .. 'b:' .. number)
    for i, id in ipairs(ids) do ids[i] = tonumber(id) end
    table.sort(ids)
    for _, id in ipairs(ids) do
      if count >= excess then break end
      look_at(redis.call('HGET', P .. 'b:' .. number, id))
    end
    if count >= excess then break end
  end
end
local gone, changed = 0, {}
for i, text in ipairs(texts) do
  changed[i] = states[text]
  gone = gone + raise_floor(changed[i], upto[text])
end
if gone > 0 then
  save_channels(changed)
  save_line()
end
local reply = { epoch, head, mark, gone }
for _, text in ipairs(texts) do reply[#reply + 1] = text end
return reply
