-- Grants all quota requests or none. Redis runs a script atomically and by its own clock, so the servers' clocks do
-- not matter. Times are in microseconds.
--
-- KEYS     counter of each request
-- ARGV     token, lease, window, then for each request: kind, limit, cost
-- returns  time now, then for each request: remaining, time until reset, time until it fits (0: it does)

local DAY = 86400000000
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local token, lease, window = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

-- Lua itself writes numbers with 14 digits only.
local function integer(number)
    return string.format('%.0f', number)
end

local function milliseconds(microseconds)
    return integer(math.ceil(microseconds / 1000))
end

-- Each function returns the units used, the time until reset, and a function of how many units are missing that
-- returns the time until they are free.
local read = {}

-- A list of the times of the charges, oldest first.
function read.minute(key)
    local function time_left(index)
        local time = tonumber(redis.call('LINDEX', key, index))
        return time and time + window - now or window
    end
    local oldest = redis.call('LINDEX', key, 0)
    while oldest and tonumber(oldest) <= now - window do
        redis.call('LPOP', key)
        oldest = redis.call('LINDEX', key, 0)
    end
    return redis.call('LLEN', key), time_left(0), function(missing) return time_left(missing - 1) end
end

-- A number that Redis deletes at midnight UTC.
function read.day(key)
    local midnight = DAY - now % DAY
    return tonumber(redis.call('GET', key) or 0), midnight, function() return midnight end
end

-- A sorted set of tokens, by the end of their lease.
function read.slot(key)
    redis.call('ZREMRANGEBYSCORE', key, '-inf', integer(now))
    return redis.call('ZCARD', key), 0, function() return 1000000 end
end

local add = {}

function add.minute(key, cost)
    for _ = 1, cost do
        redis.call('RPUSH', key, integer(now))
    end
    redis.call('PEXPIRE', key, milliseconds(window))
end

function add.day(key, cost)
    redis.call('INCRBY', key, integer(cost))
    redis.call('EXPIREAT', key, integer((now - now % DAY + DAY) / 1000000))
end

function add.slot(key)
    redis.call('ZADD', key, integer(now + lease), token)
    redis.call('PEXPIRE', key, integer(math.max(redis.call('PTTL', key), math.ceil(lease / 1000))))
end

local requests, states, fits = {}, {}, true
for index, key in ipairs(KEYS) do
    local kind, limit, cost = ARGV[3 * index + 1], tonumber(ARGV[3 * index + 2]), tonumber(ARGV[3 * index + 3])
    local used, reset, until_fits = read[kind](key)
    local missing = used + cost - limit
    requests[index] = {kind = kind, cost = cost}
    states[index] = {math.max(limit - used, 0), reset, missing > 0 and until_fits(missing) or 0}
    fits = fits and missing <= 0
end
if fits then
    for index, key in ipairs(KEYS) do
        add[requests[index].kind](key, requests[index].cost)
        states[index][1] = states[index][1] - requests[index].cost
    end
end
return {now, states}
