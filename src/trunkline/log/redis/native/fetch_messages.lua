-- Adds messages to a reply, as pairs of global id and value, until it has its count or bytes.
local function fetch_messages(reply, ids, limit, bytes)
  local count, size, first = 0, 0, 1
  local whole = math.min(#ids, limit)
  while first <= whole do
    local number = math.floor(ids[first] / BLOCK)
    local upto = first
    while upto < whole and upto - first < 99 and math.floor(ids[upto + 1] / BLOCK) == number do
      upto = upto + 1
    end
    local values = redis.call('HMGET', P .. 'b:' .. number, unpack(ids, first, upto))
    for i, value in ipairs(values) do
      local id = ids[first + i - 1]
      if not value then error('CORRUPT message ' .. id .. ' is gone, and nobody trimmed it') end
      size = size + #value
      if count > 0 and size > bytes then return count end
      count = count + 1
      reply[#reply + 1] = tonumber(id)
      reply[#reply + 1] = value
    end
    first = upto + 1
  end
  return count
end
