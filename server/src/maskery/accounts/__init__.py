"""Who may use the server, and how much: accounts, their API keys, limits, and what was used."""

from maskery.accounts.accounts import Account, AccountRepository, NoSuchAccount, check_name
from maskery.accounts.authentication import Caller, InvalidKeyError, KeyAuthenticator
from maskery.accounts.database import HEAD, Database, DatabaseError
from maskery.accounts.keys import ApiKey, KeyRepository, NoSuchKey, bare_id, check_key_name
from maskery.accounts.rate_limit.limiter import Limiter
from maskery.accounts.rate_limit.limits import Limits, LimitsUnavailable, NeverAllowed, RateLimited, Subject
from maskery.accounts.scopes import DEFAULT_SCOPES, SCOPES, Scope, parse_scopes
from maskery.accounts.service import AccountMetrics, AccountService, Records
from maskery.accounts.usage import Amount, UsageRecorder, UsageRepository, Use, to_csv

__all__ = [
    "DEFAULT_SCOPES",
    "HEAD",
    "SCOPES",
    "Account",
    "AccountMetrics",
    "AccountRepository",
    "AccountService",
    "Amount",
    "ApiKey",
    "Caller",
    "Database",
    "DatabaseError",
    "InvalidKeyError",
    "KeyAuthenticator",
    "KeyRepository",
    "Limiter",
    "Limits",
    "LimitsUnavailable",
    "NeverAllowed",
    "NoSuchAccount",
    "NoSuchKey",
    "RateLimited",
    "Records",
    "Scope",
    "Subject",
    "UsageRecorder",
    "UsageRepository",
    "Use",
    "bare_id",
    "check_key_name",
    "check_name",
    "parse_scopes",
    "to_csv",
]
