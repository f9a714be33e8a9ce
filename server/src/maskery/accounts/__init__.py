"""Accounts, their API keys, limits and usage."""

from maskery.accounts.accounts import Account, AccountRepository, NoSuchAccount, check_account_name
from maskery.accounts.authentication import Caller, InvalidKeyError, KeyAuthenticator
from maskery.accounts.database import HEAD, Database, DatabaseError
from maskery.accounts.keys import ApiKey, KeyRepository, NoSuchKey, check_key_name, strip_secret
from maskery.accounts.rate_limit.limiter import Limiter
from maskery.accounts.rate_limit.limits import ExceedsQuota, Limits, LimitsUnavailable, RateLimited, Subject
from maskery.accounts.scopes import DEFAULT_SCOPES, SCOPES, Scope, parse_scopes
from maskery.accounts.service import AccountMetrics, AccountService, AccountStore
from maskery.accounts.usage import DailyUsage, Usage, UsageRecorder, UsageRepository, to_csv

__all__ = [
    "DEFAULT_SCOPES",
    "HEAD",
    "SCOPES",
    "Account",
    "AccountMetrics",
    "AccountRepository",
    "AccountService",
    "AccountStore",
    "ApiKey",
    "Caller",
    "DailyUsage",
    "Database",
    "DatabaseError",
    "ExceedsQuota",
    "InvalidKeyError",
    "KeyAuthenticator",
    "KeyRepository",
    "Limiter",
    "Limits",
    "LimitsUnavailable",
    "NoSuchAccount",
    "NoSuchKey",
    "RateLimited",
    "Scope",
    "Subject",
    "Usage",
    "UsageRecorder",
    "UsageRepository",
    "check_account_name",
    "check_key_name",
    "parse_scopes",
    "strip_secret",
    "to_csv",
]
