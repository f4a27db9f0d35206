-- Adds events to streams, all of them or none, if the relay may and the streams end where it believes they do.
--
-- KEYS   the relay's hash, then the streams that are touched
-- ARGV   log id, epoch, the first position that is retained, the number of all streams; for each stream of KEYS the position
--        at which it is expected to end; for each event its position, '1' if it goes to KEYS[2], the index in KEYS of another
--        stream that it goes to or '0', and its JSON
-- Answer 'done' | 'foreign' log | 'superseded' epoch | 'moved'

local log, epoch, first, streams = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

-- Positions and epochs may exceed what a number of Lua can hold; both are decimal and without leading zeros.
local function greater(a, b)
  return #a > #b or (#a == #b and a > b)
end

local function ends_at(key)
  local info = redis.pcall('XINFO', 'STREAM', key)
  if info.err then
    return redis.call('EXISTS', key) == 0 and '0-0' or ''
  end
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
  return ''
end

local held = redis.call('HMGET', KEYS[1], 'log_id', 'epoch')
if held[1] and held[1] ~= log then return {'foreign', held[1]} end
if held[2] and greater(held[2], epoch) then return {'superseded', held[2]} end

for i = 2, #KEYS do
  if ends_at(KEYS[i]) ~= ARGV[i + 3] .. '-0' then return {'moved'} end
end

-- Trimming comes first: it needs no memory, and may be what makes room.
if first ~= '1' then
  for i = 2, #KEYS do
    if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('XTRIM', KEYS[i], 'MINID', first) end
  end
end

local last = {}
for i = 2, #KEYS do last[i] = ARGV[i + 3] end
for i = 4 + #KEYS, #ARGV, 4 do
  local position, other = ARGV[i], tonumber(ARGV[i + 2])
  local id = position .. '-0'
  if other > 0 then
    redis.call('XADD', KEYS[other], id, 'event', ARGV[i + 3])
    last[other] = position
  end
  if ARGV[i + 1] == '1' then
    redis.call('XADD', KEYS[2], id, 'event', ARGV[i + 3])
    last[2] = position
  end
end

redis.call('HSET', KEYS[1], 'log_id', log, 'epoch', epoch, 'first', first, 'streams', streams)
for i = 2, #KEYS do redis.call('HSET', KEYS[1], KEYS[i], last[i]) end
return {'done'}
