-- Stands before every script of this layout: reads the line, and sees that it is still the line
-- that the caller knows. When it is not (flushed, failed over, restored), the epoch is replaced
-- here, before anything is served.
-- KEYS[1] prefix. ARGV[1] msgpack: epoch, head and mark the caller last saw, an epoch to use if a
-- new one is needed, then the script's own arguments from ask[5] on. ARGV[2] message bodies.
local P = KEYS[1]
local ask = cmsgpack.unpack(ARGV[1])
local found = redis.call('HMGET', P .. 'line', 'epoch', 'head', 'at', 'kept', 'mark')
local epoch, head, at = found[1], tonumber(found[2]), tonumber(found[3])
local kept, mark = tonumber(found[4]), found[5]

local function tell_news()
  redis.call('PUBLISH', P .. 'news', head .. ' ' .. epoch)
end

-- Each turn leaves a mark at the id where it ended, so that one id can tell two histories apart.
local function is_other_line()
  local seen_head, seen_mark = ask[2], ask[3]
  if head < seen_head then return true end
  if seen_mark == '' or seen_mark == mark then return false end
  local score = redis.call('ZSCORE', P .. 'marks', seen_mark)
  if score then return tonumber(score) ~= seen_head end
  local oldest = redis.call('ZRANGE', P .. 'marks', 0, 0, 'WITHSCORES')
  return #oldest == 0 or tonumber(oldest[2]) <= seen_head
end

if not epoch then
  epoch, head, at, kept, mark = ask[4], 0, 0, 0, ''
  redis.call('HSET', P .. 'line', 'epoch', epoch, 'head', 0, 'at', '0', 'kept', 0, 'mark', '')
elseif epoch == ask[1] and is_other_line() then
  epoch = ask[4]
  redis.call('HSET', P .. 'line', 'epoch', epoch)
  tell_news()
end
