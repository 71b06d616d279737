-- Channels as they are stored: a packed state each, and a list of the global ids of their kept
-- messages, whose first entry is message erased + 1. Messages lie in hashes of 1024 global ids.
local STATE = '>ddddddd'
-- Written behind it: over 64 bytes a hash of few fields is a table too, not a list to walk through.
local SPARE = 'xxxxxxxxx'
-- What ends a message: its id, its time, and some of its global id, for Lua hashes a long string
-- by its last byte and every so many before it, and equal hashes would cost a walk through all.
local TAIL = '>ddH'
local CHUNK = 4000
local BLOCK = 1024
local floors = {}
local emptied = {}

local function by_chunks(command, key, list)
  if #list == 1 then
    redis.call(command, key, list[1])
    return
  end
  for first = 1, #list, CHUNK do
    redis.call(command, key, unpack(list, first, math.min(first + CHUNK - 1, #list)))
  end
end

local function block_key(global_id)
  return P .. 'b:' .. math.floor(global_id / BLOCK)
end

local function index_key(text)
  return P .. 'i:' .. text
end

local function channel_of(text, state)
  local c = { text = text, last = 0, floor = 0, floor_global = 0, erased = 0, at = 0, oldest = 0,
              last_global = 0, is_new = not state }
  if state then
    c.last, c.floor, c.floor_global, c.erased, c.at, c.oldest, c.last_global =
      struct.unpack(STATE, state)
  end
  return c
end

local function load_channels(texts)
  local channels = {}
  for first = 1, #texts, CHUNK do
    local upto = math.min(first + CHUNK - 1, #texts)
    local states = redis.call('HMGET', P .. 'channels', unpack(texts, first, upto))
    for i = first, upto do
      channels[i] = channel_of(texts[i], states[i - first + 1])
    end
  end
  return channels
end

local function save_channels(channels)
  local states, names = {}, {}
  for _, c in ipairs(channels) do
    states[#states + 1] = c.text
    states[#states + 1] = struct.pack(
      STATE .. SPARE, c.last, c.floor, c.floor_global, c.erased, c.at, c.oldest, c.last_global)
    if c.is_new then
      names[#names + 1] = 0
      names[#names + 1] = c.text
    end
  end
  by_chunks('HSET', P .. 'channels', states)
  by_chunks('ZADD', P .. 'names', names)
  by_chunks('ZADD', P .. 'floors', floors)
end

-- Returns a stored message's id and its channel's text.
local function name_of(value)
  local size = struct.unpack('>H', value)
  return (struct.unpack(TAIL, value, #value - 17)), string.sub(value, 11, 10 + size)
end

local function global_id_of(c, message_id)
  return tonumber(redis.call('LINDEX', index_key(c.text), message_id - c.erased - 1))
end

-- Returns when a message was published; fails when it is not where it must be.
local function time_of(c, message_id)
  local global_id = global_id_of(c, message_id)
  local value = global_id and redis.call('HGET', block_key(global_id), global_id)
  if not value then error('CORRUPT ' .. c.text .. ' has lost message ' .. message_id) end
  local _, published_at = struct.unpack(TAIL, value, #value - 17)
  return published_at
end

-- Returns the newest message older than cutoff, and notes when the next one was published.
local function age_floor(c, cutoff)
  local low, high = c.floor + 1, c.last + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if time_of(c, middle) < cutoff then low = middle + 1 else high = middle end
  end
  if low <= c.last then c.oldest = time_of(c, low) end
  return low - 1
end

local function raise_floor(c, upto)
  upto = math.min(upto, c.last)
  local gone = upto - c.floor
  if gone <= 0 then return 0 end
  c.floor_global = global_id_of(c, upto)
  c.floor = upto
  kept = kept - gone
  floors[#floors + 1] = c.floor_global
  floors[#floors + 1] = c.text
  return gone
end

local function erase_fields(key, fields, number)
  by_chunks('HDEL', key, fields)
  if redis.call('EXISTS', key) == 0 then emptied[#emptied + 1] = number end
end

-- Deletes what a channel's floor hides, at most so many messages; returns how many.
local function erase_hidden(c, budget)
  local count = math.min(c.floor - c.erased, budget)
  if count <= 0 then return 0 end
  local key = index_key(c.text)
  local ids = redis.call('LRANGE', key, 0, count - 1)
  redis.call('LTRIM', key, count, -1)
  c.erased = c.erased + count
  local fields, number = {}, nil
  for _, id in ipairs(ids) do
    local block = math.floor(id / BLOCK)
    if number and block ~= number then
      erase_fields(P .. 'b:' .. number, fields, number)
      fields = {}
    end
    number = block
    fields[#fields + 1] = id
  end
  erase_fields(P .. 'b:' .. number, fields, number)
  return count
end

local function save_line()
  by_chunks('ZREM', P .. 'blocks', emptied)
  redis.call('HSET', P .. 'line', 'head', head, 'at', string.format('%.17g', at), 'kept', kept,
             'mark', mark)
end
