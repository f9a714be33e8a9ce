"""Who may use the server, and how much: accounts, their API keys, limits, and what was used."""

from maskery.accounts.book import Account, AccountBook, NoSuchAccount, check_name
from maskery.accounts.database import HEAD, Database, DatabaseError
from maskery.accounts.keys import ApiKey, KeyStore, NoSuchKey, bare_id, check_key_name
from maskery.accounts.ledger import Ledger
from maskery.accounts.limiter import Limiter
from maskery.accounts.limits import Holder, Limits, LimitsUnavailable, NeverAllowed, RateLimited
from maskery.accounts.metrics import OfficeState
from maskery.accounts.office import Office, Records
from maskery.accounts.rights import RIGHTS, USUAL_RIGHTS, Right, check_rights
from maskery.accounts.usage import Amount, UsageBook, Use, to_csv
from maskery.accounts.verifier import Caller, Refused, Verifier

__all__ = [
    "HEAD",
    "RIGHTS",
    "USUAL_RIGHTS",
    "Account",
    "AccountBook",
    "Amount",
    "ApiKey",
    "Caller",
    "Database",
    "DatabaseError",
    "Holder",
    "KeyStore",
    "Ledger",
    "Limiter",
    "Limits",
    "LimitsUnavailable",
    "NeverAllowed",
    "NoSuchAccount",
    "NoSuchKey",
    "Office",
    "OfficeState",
    "RateLimited",
    "Records",
    "Refused",
    "Right",
    "UsageBook",
    "Use",
    "Verifier",
    "bare_id",
    "check_key_name",
    "check_name",
    "check_rights",
    "to_csv",
]
