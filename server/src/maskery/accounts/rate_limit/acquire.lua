-- Takes all claims or none. Redis runs a script alone, and by its own clock, so that the servers' clocks do not matter.
--
-- KEYS     a claim's name each
-- ARGV     token, lease, window (microseconds), then of each claim: kind, amount, cost
-- returns  of each claim: left, microseconds until there is more, microseconds until it fits (0: it does)

local DAY = 86400000000
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local token, lease, window = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

-- Lua's own way of writing numbers keeps 14 digits.
local function whole(number)
    return string.format('%.0f', number)
end

local function milliseconds(span)
    return whole(math.ceil(span / 1000))
end

-- Each looks at a claim: how much is used, until there is more left, until `missing` more are left.
local look = {}

-- A list of times, oldest first.
function look.minute(key)
    local function until_left(index)
        local time = tonumber(redis.call('LINDEX', key, index))
        return time and time + window - now or window
    end
    local oldest = redis.call('LINDEX', key, 0)
    while oldest and tonumber(oldest) <= now - window do
        redis.call('LPOP', key)
        oldest = redis.call('LINDEX', key, 0)
    end
    return redis.call('LLEN', key), until_left(0), function(missing) return until_left(missing - 1) end
end

-- A number that Redis itself drops at midnight UTC.
function look.day(key)
    local midnight = DAY - now % DAY
    return tonumber(redis.call('GET', key) or 0), midnight, function() return midnight end
end

-- A sorted set of tokens, by when their leases end.
function look.place(key)
    redis.call('ZREMRANGEBYSCORE', key, '-inf', whole(now))
    return redis.call('ZCARD', key), 0, function() return 1000000 end
end

local add = {}

function add.minute(key, cost)
    for _ = 1, cost do
        redis.call('RPUSH', key, whole(now))
    end
    redis.call('PEXPIRE', key, milliseconds(window))
end

function add.day(key, cost)
    redis.call('INCRBY', key, whole(cost))
    redis.call('EXPIREAT', key, whole((now - now % DAY + DAY) / 1000000))
end

function add.place(key)
    redis.call('ZADD', key, whole(now + lease), token)
    redis.call('PEXPIRE', key, whole(math.max(redis.call('PTTL', key), math.ceil(lease / 1000))))
end

local claims, counts, fits = {}, {}, true
for index, key in ipairs(KEYS) do
    local kind, amount, cost = ARGV[3 * index + 1], tonumber(ARGV[3 * index + 2]), tonumber(ARGV[3 * index + 3])
    local used, reset, until_fits = look[kind](key)
    local missing = used + cost - amount
    claims[index] = {kind = kind, cost = cost}
    counts[index] = {math.max(amount - used, 0), reset, missing > 0 and until_fits(missing) or 0}
    fits = fits and missing <= 0
end
if fits then
    for index, key in ipairs(KEYS) do
        add[claims[index].kind](key, claims[index].cost)
        counts[index][1] = counts[index][1] - claims[index].cost
    end
end
return counts
