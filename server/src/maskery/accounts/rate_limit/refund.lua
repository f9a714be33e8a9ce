-- Counts claims as if they had not been taken. What was taken last goes first; what is over by now stays over.
--
-- KEYS     a claim's name each
-- ARGV     of each claim: kind, cost

for index, key in ipairs(KEYS) do
    local kind, cost = ARGV[2 * index - 1], tonumber(ARGV[2 * index])
    if kind == 'minute' then
        for _ = 1, cost do
            redis.call('RPOP', key)
        end
    elseif kind == 'day' then
        -- Where there is nothing, a new number would have no end.
        local spent = tonumber(redis.call('GET', key) or 0)
        if spent > 0 then
            redis.call('DECRBY', key, string.format('%.0f', math.min(cost, spent)))
        end
    end
end
