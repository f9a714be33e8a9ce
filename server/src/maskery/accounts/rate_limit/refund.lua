-- Undoes charges, unless their window or day is over. Times are in microseconds.
--
-- KEYS     counter of each request
-- ARGV     time of the charge, then for each request: kind, cost

local DAY = 86400000000
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local charged_at = ARGV[1]
local is_today = math.floor(tonumber(charged_at) / DAY) == math.floor(now / DAY)

for index, key in ipairs(KEYS) do
    local kind, cost = ARGV[2 * index], tonumber(ARGV[2 * index + 1])
    if kind == 'minute' then
        redis.call('LREM', key, -cost, charged_at)
    -- A counter that was deleted meanwhile would be made anew, without an end.
    elseif kind == 'day' and is_today and redis.call('EXISTS', key) == 1 then
        redis.call('DECRBY', key, string.format('%.0f', cost))
    end
end
