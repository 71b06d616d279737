-- Floors are not stored in this layout: they follow from what is still there.
local lowest = redis.call('ZRANGE', POINTERS, 0, 0, 'WITHSCORES')
local lost_pointers = lowest[2] and tonumber(lowest[2]) - 1 or head

-- Returns a channel's last id, its floor, and the newest global id that may have been trimmed.
local function find_floors(name)
  local last = tonumber(redis.call('GET', counter_key(name)) or 0)
  local first = redis.call('ZRANGE', backlog_key(name), 0, 0, 'WITHSCORES')
  if #first == 0 then
    local pointer = last > 0 and redis.call('ZSCORE', POINTERS, last .. '|' .. name)
    return last, last, last == 0 and 0 or pointer and tonumber(pointer) or lost_pointers
  end
  local newest = redis.call('ZRANGE', backlog_key(name), -1, -1, 'WITHSCORES')
  last = math.max(last, tonumber(newest[2]))
  local floor = tonumber(first[2]) - 1
  if floor == 0 then return last, 0, 0 end
  local pointer = redis.call('ZSCORE', POINTERS, floor .. '|' .. name)
  if pointer then return last, floor, tonumber(pointer) end
  -- Its pointer went too, so it is older than all pointers, and than what is kept.
  return last, floor, math.min(lost_pointers, global_id_of(first[1]) - 1)
end
