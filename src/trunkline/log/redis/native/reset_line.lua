-- Erases everything but the publishers' last turns, and begins the epoch ask[4].
-- Reply: epoch, head, mark.
for _, number in ipairs(redis.call('ZRANGE', P .. 'blocks', 0, -1)) do
  redis.call('UNLINK', P .. 'b:' .. number)
end
for _, text in ipairs(redis.call('ZRANGE', P .. 'names', 0, -1)) do
  redis.call('UNLINK', index_key(text))
end
redis.call('UNLINK', P .. 'line', P .. 'channels', P .. 'names', P .. 'floors', P .. 'blocks',
           P .. 'marks', P .. 'keys', P .. 'key_times')
epoch, head, mark = ask[4], 0, ''
redis.call('HSET', P .. 'line', 'epoch', epoch, 'head', 0, 'at', '0', 'kept', 0, 'mark', '')
tell_news()
return { epoch, head, mark }
