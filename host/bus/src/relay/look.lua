-- What stands at the end of streams.
--
-- KEYS   streams
-- Answer for each the id at which it ends ('0-0' if there is none, 'broken' if it is no stream), then the id of its last
--        entry and the entry's field `event`, both '' if there is none

local answer = {}
for i = 1, #KEYS do
  local ends, id, event = 'broken', '', ''
  local info = redis.pcall('XINFO', 'STREAM', KEYS[i])
  if info.err then
    if redis.call('EXISTS', KEYS[i]) == 0 then ends = '0-0' end
  else
    for j = 1, #info, 2 do
      if info[j] == 'last-generated-id' then ends = info[j + 1] end
    end
    local entry = redis.call('XREVRANGE', KEYS[i], '+', '-', 'COUNT', 1)[1]
    if entry then
      id = entry[1]
      if entry[2] and entry[2][1] == 'event' then event = entry[2][2] end
    end
  end
  answer[#answer + 1] = ends
  answer[#answer + 1] = id
  answer[#answer + 1] = event
end
return answer
