-- Reads a stretch of the line along its pointers: ask[5] after, [6] how many, [7] bytes.
-- Reply: epoch, head, mark, end of the stretch, newest lost pointer, count of dangling pointers,
-- those (global id and channel's name), then message texts.
local pointers = redis.call('ZRANGEBYSCORE', POINTERS, '(' .. ask[5], '+inf', 'WITHSCORES',
                            'LIMIT', 0, ask[6])
local upto = #pointers < 2 * ask[6] and head or tonumber(pointers[#pointers])
local texts, dangling, size = {}, {}, 0
for i = 1, #pointers, 2 do
  local message_id, name = string.match(pointers[i], '^(%d+)|(.*)$')
  local global_id = tonumber(pointers[i + 1])
  local found
  if name then
    for _, text in ipairs(redis.call('ZRANGEBYSCORE', backlog_key(name), message_id, message_id)) do
      if global_id_of(text) == global_id then found = text end
    end
  end
  if found then
    size = size + #found
    if #texts > 0 and size > ask[7] then
      upto = tonumber(pointers[i - 1])
      break
    end
    texts[#texts + 1] = found
  elseif name then
    dangling[#dangling + 1] = global_id
    dangling[#dangling + 1] = name
  end
end
local reply = { epoch, head, mark, upto, lost_pointers, #dangling / 2 }
for _, value in ipairs(dangling) do reply[#reply + 1] = value end
for _, text in ipairs(texts) do reply[#reply + 1] = text end
return reply
