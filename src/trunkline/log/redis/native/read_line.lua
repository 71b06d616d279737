-- Reads a stretch of the line: ask[5] after, [6] how many messages, [7] bytes, [8] how many floors.
-- Reply: epoch, head, mark, end of the stretch, count of floors, floors (global id and channel
-- text, newest first, all after ask[5]), then global ids and values.
local after, limit, bytes = ask[5], ask[6], ask[7]
local tops = redis.call('ZREVRANGEBYSCORE', P .. 'floors', '+inf', '(' .. after, 'WITHSCORES',
                        'LIMIT', 0, ask[8])
local reply = { epoch, head, mark, head, #tops / 2 }
for i = 1, #tops, 2 do
  reply[#reply + 1] = tonumber(tops[i + 1])
  reply[#reply + 1] = tops[i]
end

-- What is trimmed and not yet erased lies below its channel's floor.
local own_floors = {}
local function is_kept(value)
  local message_id, text = name_of(value)
  local floor = own_floors[text]
  if not floor then
    floor = channel_of(text, redis.call('HGET', P .. 'channels', text)).floor
    own_floors[text] = floor
  end
  return message_id > floor
end

local count, size, position = 0, 0, after
local function take_block(number)
  local first = math.max(position + 1, number * BLOCK)
  local upto = math.min(head, number * BLOCK + BLOCK - 1)
  while first <= upto do
    local ids = {}
    for id = first, math.min(first + 99, upto) do ids[#ids + 1] = id end
    local values = redis.call('HMGET', P .. 'b:' .. number, unpack(ids))
    for i, value in ipairs(values) do
      if value and is_kept(value) then
        size = size + #value
        if count > 0 and (count >= limit or size > bytes) then return false end
        count = count + 1
        reply[#reply + 1] = ids[i]
        reply[#reply + 1] = value
      end
      position = ids[i]
    end
    first = first + #ids
  end
  return true
end

local looked = 0
local number = math.floor((after + 1) / BLOCK)
while position < head do
  local following = redis.call('ZRANGEBYSCORE', P .. 'blocks', number, '+inf', 'LIMIT', 0, 1)
  if #following == 0 then
    position = head
    break
  end
  number = tonumber(following[1])
  if not take_block(number) then break end
  number = number + 1
  position = math.min(head, math.max(position, number * BLOCK - 1))
  looked = looked + 1
  if looked >= 20 then break end
end
reply[4] = math.min(position, head)
return reply
