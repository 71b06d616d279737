-- Stores one turn: many groups of drafts, each whole or not at all.
-- ask[5] the publisher's token, [6] number of its turn, [7] now, [8] channel texts,
-- [9] limits (size, age, every; -1 for none), [10] groups, [11] fields of the keys asked for,
-- [12] the bodies' sizes. ARGV[2] all bodies in a row.
-- A group is a number (channel * 256 + limits) for a lone plain draft, or a list of drafts:
-- channel, limits, expected version or nil, number of its key or 0, fingerprint.
-- Reply: epoch, head, mark, count of refusals, refusals (group, 1 version|2 key, draft, last id),
-- then message id and global id of each accepted draft; a negative message id is a repeat.
local RECEIPT_TURNS = 3600000
local ERASE_FROM, ERASE_BATCH = 500, 5000
local MARKS = 10000
local turn_key = P .. 'turn:' .. ask[5]
local seq, now = ask[6], ask[7]
local done = redis.call('GET', turn_key)
if done then
  done = cmsgpack.unpack(done)
  if done[1] == seq then return done[2] end
  if done[1] > seq then return redis.error_reply('STALE a later turn was stored already') end
end
if now > at then at = now end
local first_head, bodies, sizes, number_of_body, position = head, ARGV[2], ask[12], 0, 1
local channels, limits, fields = load_channels(ask[8]), ask[9], ask[11]
local known, new_keys = {}, {}
for first = 1, #fields, CHUNK do
  local upto = math.min(first + CHUNK - 1, #fields)
  local values = redis.call('HMGET', P .. 'keys', unpack(fields, first, upto))
  for i, value in ipairs(values) do
    if value then
      local message_id, global_id = struct.unpack('>dd', value)
      known[first + i - 1] = { string.sub(value, 17), message_id, global_id }
    end
  end
end

-- What runs for every message finds its functions in locals.
local floor, sub, format, pack = math.floor, string.sub, string.format, struct.pack

local function next_body()
  number_of_body = number_of_body + 1
  local first = position
  position = first + sizes[number_of_body]
  return first, position - 1
end

local values, filled, block = {}, 0, floor((head + 1) / BLOCK)
local block_end = (block + 1) * BLOCK
local function flush_block()
  if filled == 0 then return end
  by_chunks('HSET', P .. 'b:' .. block, values)
  redis.call('ZADD', P .. 'blocks', block, block)
  values, filled = {}, 0
end

-- The reply begins with epoch, head, mark and count of refusals, which come last.
local reply, replied, refusals = { 0, 0, 0, 0 }, 4, {}
local function accept(c, limit, first, upto)
  head = head + 1
  local last = c.last + 1
  c.last = last
  if not c.ids then
    c.ids, c.want, c.before = {}, c.floor, last - 1
  end
  if head >= block_end then
    flush_block()
    block, block_end = block + 1, block_end + BLOCK
  end
  -- As text once, for each call that gets a number writes it out anew.
  local id = format('%.0f', head)
  c.ids[#c.ids + 1] = id
  values[filled + 1] = id
  values[filled + 2] = sub(bodies, first, upto) .. pack(TAIL, last, at, head % 65536)
  filled = filled + 2
  local size, age = limit[1], limit[2]
  if size >= 0 and last > size and last % limit[3] == 0 and last - size > c.want then
    c.want = last - size
  end
  if age >= 0 and (not c.age or age < c.age) then c.age = age end
  c.newest = head
  reply[replied + 1] = last
  reply[replied + 2] = head
  replied = replied + 2
end

local function refuse(number, kind, draft, last)
  for _, value in ipairs({ number, kind, draft, last }) do refusals[#refusals + 1] = value end
end

-- Checks all drafts of a group, so that none goes in when one may not.
local function is_refused(number, group)
  local ahead, fresh = {}, {}
  for i, draft in ipairs(group) do
    local place, key, print = draft[1], draft[4], draft[5]
    local is_repeat = false
    if key > 0 then
      local first = known[key] and known[key][1] or fresh[key]
      if first and first ~= print then
        refuse(number, 2, i, 0)
        return true
      end
      is_repeat = first ~= nil
      fresh[key] = print
    end
    if not is_repeat then
      local last = channels[place].last + (ahead[place] or 0)
      if draft[3] and draft[3] ~= last then
        refuse(number, 1, i, last)
        return true
      end
      ahead[place] = (ahead[place] or 0) + 1
    end
  end
  return false
end

local function admit(number, group)
  if is_refused(number, group) then
    for _ = 1, #group do next_body() end
    return
  end
  for _, draft in ipairs(group) do
    local key = draft[4]
    local first, upto = next_body()
    if key > 0 and known[key] then
      reply[replied + 1] = -known[key][2]
      reply[replied + 2] = known[key][3]
      replied = replied + 2
    else
      local c = channels[draft[1]]
      accept(c, limits[draft[2]], first, upto)
      if key > 0 then
        known[key] = { draft[5], c.last, head }
        new_keys[#new_keys + 1] = key
      end
    end
  end
end

for number, group in ipairs(ask[10]) do
  if type(group) == 'number' then
    accept(channels[floor(group / 256)], limits[group % 256], next_body())
  else
    admit(number, group)
  end
end

local function settle(c)
  if c.floor == c.before then c.oldest = at end
  c.at = at
  by_chunks('RPUSH', index_key(c.text), c.ids)
  c.last_global = c.newest
  local upto = c.want
  if c.age and c.oldest < now - c.age then
    upto = math.max(upto, age_floor(c, now - c.age))
  end
  if upto > c.floor then raise_floor(c, upto) end
end

if head > first_head then
  flush_block()
  kept = kept + head - first_head
  mark = ask[5] .. '.' .. seq
  local grown, budget = {}, ERASE_BATCH
  for _, c in ipairs(channels) do
    if c.ids then
      grown[#grown + 1] = c
      settle(c)
      if c.floor - c.erased >= ERASE_FROM then budget = budget - erase_hidden(c, budget) end
    end
  end
  save_channels(grown)
  local receipts, times = {}, {}
  for _, key in ipairs(new_keys) do
    local receipt = known[key]
    receipts[#receipts + 1] = fields[key]
    receipts[#receipts + 1] = struct.pack('>dd', receipt[2], receipt[3]) .. receipt[1]
    times[#times + 1] = at
    times[#times + 1] = fields[key]
  end
  by_chunks('HSET', P .. 'keys', receipts)
  by_chunks('ZADD', P .. 'key_times', times)
  redis.call('ZADD', P .. 'marks', head, mark)
  if seq % 64 == 0 then redis.call('ZREMRANGEBYRANK', P .. 'marks', 0, -MARKS - 1) end
  save_line()
end
local answer = reply
if #refusals > 0 then
  answer = { 0, 0, 0, 0 }
  for _, value in ipairs(refusals) do answer[#answer + 1] = value end
  for i = 5, replied do answer[#answer + 1] = reply[i] end
end
answer[1], answer[2], answer[3], answer[4] = epoch, head, mark, #refusals / 4
redis.call('SET', turn_key, cmsgpack.pack({ seq, answer }), 'PX', RECEIPT_TURNS)
if head > first_head then tell_news() end
return answer
