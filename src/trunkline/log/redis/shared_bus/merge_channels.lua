-- Reads a page of some channels in global order: ask[5] after, [6] limit, [7] bytes, [8] names.
-- Reply: epoch, head, mark, floor, end of the page, then message texts.
local after, limit = ask[5], ask[6]
local share = math.max(16, math.ceil(2 * limit / math.max(1, #ask[8])))
local floor, bound, found = 0, math.huge, {}

local function global_id_at(name, rank)
  return global_id_of(redis.call('ZRANGE', backlog_key(name), rank, rank)[1])
end

local function first_after(name, count)
  local low, high = 0, count
  while low < high do
    local middle = math.floor((low + high) / 2)
    if global_id_at(name, middle) > after then high = middle else low = middle + 1 end
  end
  return low
end

for _, name in ipairs(ask[8]) do
  local _, _, floor_global = find_floors(name)
  floor = math.max(floor, floor_global)
  local count = redis.call('ZCARD', backlog_key(name))
  if count > 0 and global_id_at(name, count - 1) > after then
    local start = first_after(name, count)
    local run = redis.call('ZRANGE', backlog_key(name), start, start + share - 1)
    for _, text in ipairs(run) do found[#found + 1] = { global_id_of(text), text } end
    if start + #run < count then bound = math.min(bound, global_id_of(run[#run])) end
  end
end
table.sort(found, function(one, other) return one[1] < other[1] end)
local reply, size = { epoch, head, mark, floor, head }, 0
for i, one in ipairs(found) do
  size = size + #one[2]
  if one[1] > bound or (i > 1 and (i > limit or size > ask[7])) then
    bound = 0
    break
  end
  reply[#reply + 1] = one[2]
end
if bound < math.huge then reply[5] = global_id_of(reply[#reply]) end
return reply
