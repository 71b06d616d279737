-- Reads a page of some channels in global order: ask[5] after, [6] limit, [7] bytes, [8] texts.
-- Reply: epoch, head, mark, floor, end of the page, then global ids and values.
local after, limit = ask[5], ask[6]
local channels = load_channels(ask[8])
local share = math.max(16, math.ceil(2 * limit / math.max(1, #channels)))
local floor, bound, ids = 0, math.huge, {}

-- Finds the first message above a global id, from the newest back in growing steps, then by halves.
local function first_after(c)
  local low, high, step = c.last, c.last, 1
  while low > c.floor and global_id_of(c, low) > after do
    high = low
    low = math.max(c.floor, low - step)
    step = step * 2
  end
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if global_id_of(c, middle) > after then high = middle else low = middle end
  end
  return high
end

for _, c in ipairs(channels) do
  floor = math.max(floor, c.floor_global)
  if c.last_global > after and c.last > c.floor then
    local start = first_after(c) - c.erased - 1
    local run = redis.call('LRANGE', index_key(c.text), start, start + share - 1)
    for _, id in ipairs(run) do ids[#ids + 1] = tonumber(id) end
    if start + #run < c.last - c.erased then bound = math.min(bound, tonumber(run[#run])) end
  end
end
table.sort(ids)
local whole = #ids
while whole > 0 and ids[whole] > bound do
  ids[whole] = nil
  whole = whole - 1
end
local reply = { epoch, head, mark, floor, head }
local count = fetch_messages(reply, ids, limit, ask[7])
if count < whole or bound < math.huge then reply[5] = reply[#reply - 1] end
return reply
