-- Stores one turn with the effects that message_bus's own publish has, message after message.
-- ask[5] the publisher's token, [6] number of its turn, [7] channel names with their site,
-- [8] the same with pipes escaped, [9] limits (size, seconds, every; -1 for none), [10] groups,
-- [11] fields of the keys asked for, [12] the envelopes' sizes, [13] pointers kept,
-- [14] pub/sub channel, [15] seconds that receipts live. ARGV[2] all envelopes in a row.
-- A group is a list of drafts: channel, limits, number of its key or 0, fingerprint.
-- Reply: epoch, head, mark, count of refusals, refusals (group, 2, draft, 0), then message id and
-- global id of each accepted draft; a negative message id is a repeat.
local turn_key = TURN .. ask[5]
local seq = ask[6]
local done = redis.call('GET', turn_key)
if done then
  done = cmsgpack.unpack(done)
  if done[1] == seq then return done[2] end
  if done[1] > seq then return redis.error_reply('STALE a later turn was stored already') end
end
local first_head, envelopes, sizes = head, ARGV[2], ask[12]
local channels, limits, fields = {}, ask[9], ask[11]
for i, name in ipairs(ask[7]) do
  local last = tonumber(redis.call('GET', counter_key(name)) or 0)
  channels[i] = { name = name, escaped = ask[8][i], last = last, before = last, trim = 0,
                  members = {} }
end
local known, new_keys = {}, {}
for i, field in ipairs(fields) do
  local value = redis.call('GET', RECEIPT .. field)
  if value then known[i] = cmsgpack.unpack(value) end
end

local pointers, texts, reply, refusals = {}, {}, {}, {}
local global_trim, longest = 0, 0
local body, position = 0, 1
local function next_envelope()
  body = body + 1
  local first = position
  position = position + sizes[body]
  return string.sub(envelopes, first, position - 1)
end

local function accept(c, limit, envelope)
  head = head + 1
  c.last = c.last + 1
  local text = head .. '|' .. c.last .. '|' .. c.escaped .. '|' .. envelope
  texts[#texts + 1] = text
  c.members[#c.members + 1] = c.last
  c.members[#c.members + 1] = text
  pointers[#pointers + 1] = head
  pointers[#pointers + 1] = c.last .. '|' .. c.name
  c.age = limit[2]
  if limit[1] >= 0 and c.last > limit[1] and c.last % limit[3] == 0 then
    c.trim = math.max(c.trim, c.last - limit[1])
  end
  if head > ask[13] and head % limit[3] == 0 then global_trim = head - ask[13] end
  if limit[2] < 0 then longest = math.huge end
  longest = math.max(longest, limit[2])
  reply[#reply + 1] = c.last
  reply[#reply + 1] = head
end

local function is_refused(number, group)
  local fresh = {}
  for i, draft in ipairs(group) do
    local key, print = draft[3], draft[4]
    if key > 0 then
      local first = known[key] and known[key][1] or fresh[key]
      if first and first ~= print then
        for _, value in ipairs({ number, 2, i, 0 }) do refusals[#refusals + 1] = value end
        return true
      end
      fresh[key] = print
    end
  end
  return false
end

for number, group in ipairs(ask[10]) do
  if is_refused(number, group) then
    for _ = 1, #group do next_envelope() end
  else
    for _, draft in ipairs(group) do
      local key, envelope = draft[3], next_envelope()
      if key > 0 and known[key] then
        reply[#reply + 1] = -known[key][2]
        reply[#reply + 1] = known[key][3]
      else
        accept(channels[draft[1]], limits[draft[2]], envelope)
        if key > 0 then
          known[key] = { draft[4], channels[draft[1]].last, head }
          new_keys[#new_keys + 1] = key
        end
      end
    end
  end
end

local function by_chunks(command, key, list)
  for first = 1, #list, 4000 do
    redis.call(command, key, unpack(list, first, math.min(first + 3999, #list)))
  end
end

local function expire(key, seconds)
  if seconds < 0 then redis.call('PERSIST', key) else redis.call('EXPIRE', key, seconds) end
end

if head > first_head then
  redis.call('INCRBY', COUNTER, head - first_head)
  for _, c in ipairs(channels) do
    if c.last > c.before then
      redis.call('INCRBY', counter_key(c.name), c.last - c.before)
      by_chunks('ZADD', backlog_key(c.name), c.members)
      expire(backlog_key(c.name), c.age)
      expire(counter_key(c.name), c.age)
      if c.trim > 0 then redis.call('ZREMRANGEBYSCORE', backlog_key(c.name), 1, c.trim) end
    end
  end
  local lives = redis.call('TTL', POINTERS)
  by_chunks('ZADD', POINTERS, pointers)
  -- Ruby sets the age of the latest publish; shortening it would hide other channels' messages.
  if lives ~= -1 then
    if longest == math.huge then
      redis.call('PERSIST', POINTERS)
    else
      redis.call('EXPIRE', POINTERS, math.max(longest, lives))
    end
  end
  if global_trim > 0 then redis.call('ZREMRANGEBYSCORE', POINTERS, 1, global_trim) end
  for _, key in ipairs(new_keys) do
    redis.call('SET', RECEIPT .. fields[key], cmsgpack.pack(known[key]), 'EX', ask[15])
  end
  for _, text in ipairs(texts) do redis.call('PUBLISH', ask[14], text) end
  mark = pointers[#pointers]
end
local answer = { epoch, head, mark, #refusals / 4 }
for _, value in ipairs(refusals) do answer[#answer + 1] = value end
for _, value in ipairs(reply) do answer[#answer + 1] = value end
redis.call('SET', turn_key, cmsgpack.pack({ seq, answer }), 'EX', 3600)
return answer
