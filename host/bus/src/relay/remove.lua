-- Takes streams away: broken ones, or all of another log.
--
-- KEYS   the relay's hash, then the streams
-- ARGV   the log id that the hash was seen to hold ('' if none), this log's id, epoch
-- Answer 'done' | 'foreign' log | 'superseded' epoch

local seen, log, epoch = ARGV[1], ARGV[2], ARGV[3]

local function greater(a, b)
  return #a > #b or (#a == #b and a > b)
end

local held = redis.call('HMGET', KEYS[1], 'log_id', 'epoch')
if held[1] and held[1] ~= seen then return {'foreign', held[1]} end
if seen == log and held[2] and greater(held[2], epoch) then return {'superseded', held[2]} end

for i = 2, #KEYS do
  redis.call('UNLINK', KEYS[i])
  redis.call('HDEL', KEYS[1], KEYS[i])
end
if seen ~= log then
  redis.call('UNLINK', KEYS[1])
  redis.call('HSET', KEYS[1], 'log_id', log, 'epoch', epoch)
end
return {'done'}
