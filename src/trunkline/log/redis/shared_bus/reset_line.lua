-- Erases the bus as Ruby's reset! does, and begins the epoch ask[4]; the publishers' last turns
-- stay, so that a turn in doubt can still be settled.
-- Reply: epoch, head, mark.
for _, key in ipairs(redis.call('KEYS', '__mb_*')) do
  if string.sub(key, 1, #TURN) ~= TURN then redis.call('UNLINK', key) end
end
redis.call('SET', OURS, ask[4])
return { ask[4], 0, '' }
