-- Stands before every script of this layout, whose keys are those of Ruby's message_bus; only
-- __mb_trunkline is ours. It lies among message_bus's keys, so that Ruby's reset! takes it along
-- and the new line gets a new epoch.
-- ARGV[1] msgpack: epoch, head and mark the caller last saw, an epoch to use if a new one is
-- needed, then the script's own arguments from ask[5] on. ARGV[2] envelopes.
local ask = cmsgpack.unpack(ARGV[1])
local COUNTER, POINTERS, OURS = '__mb_global_id_n', '__mb_global_backlog_n', '__mb_trunkline'
local RECEIPT, TURN = '__mb_trunkline_receipt_', '__mb_trunkline_turn_'
local epoch = redis.call('GET', OURS)
local head = tonumber(redis.call('GET', COUNTER) or 0)

local function backlog_key(name) return '__mb_backlog_n_' .. name end
local function counter_key(name) return '__mb_backlog_id_n_' .. name end

local function pointer_at(global_id)
  return redis.call('ZRANGEBYSCORE', POINTERS, global_id, global_id, 'LIMIT', 0, 1)[1] or ''
end

local function is_other_line()
  if head < ask[2] then return true end
  if ask[3] == '' then return false end
  local pointer = pointer_at(ask[2])
  return pointer ~= '' and pointer ~= ask[3]
end

if not epoch or (epoch == ask[1] and is_other_line()) then
  epoch = ask[4]
  redis.call('SET', OURS, epoch)
end
local mark = head > 0 and pointer_at(head) or ''

local function global_id_of(text)
  return tonumber(string.match(text, '^(%d+)|'))
end
