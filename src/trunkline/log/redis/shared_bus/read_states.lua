-- Describes channels: ask[5] their names.
-- Reply: epoch, head, mark, then last id and floor of each.
local reply = { epoch, head, mark }
for _, name in ipairs(ask[5]) do
  local last, floor = find_floors(name)
  reply[#reply + 1] = last
  reply[#reply + 1] = floor
end
return reply
