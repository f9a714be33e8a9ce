"""Rate limits and quotas of accounts and keys, counted in memory or in Redis."""
