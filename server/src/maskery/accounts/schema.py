"""The tables after all migrations. Times are Unix seconds. A limit is NULL if it is not set, 0 if unlimited."""

from sqlalchemy import BigInteger, Column, Date, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table

metadata = MetaData()


def _limits() -> list[Column[int]]:
    return [
        Column("requests_per_minute", Integer, nullable=True),
        Column("images_per_minute", Integer, nullable=True),
        Column("concurrent_requests", Integer, nullable=True),
        Column("pixels_per_day", BigInteger, nullable=True),
    ]


accounts = Table(
    "accounts",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("created", Float, nullable=False),
    Column("disabled", Float, nullable=True),
    *_limits(),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("hash", LargeBinary(32), nullable=False),
    Column("account", String(128), ForeignKey("accounts.name", name="api_keys_account"), nullable=False),
    Column("name", String(128), nullable=False, server_default=""),
    Column("scopes", String(64), nullable=False, server_default="segment,metrics"),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=True),
    Column("revoked", Float, nullable=True),
    Column("last_used", Float, nullable=True),
    # ID of the key that `rotate` created in its place.
    Column("replaced_by", String(16), nullable=True),
    *_limits(),
    Index("api_keys_by_account", "account"),
)

# No foreign key: anonymous usage has no account.
usage = Table(
    "usage",
    metadata,
    Column("account", String(128), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("objects", BigInteger, nullable=False),
    Column("pixels", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
)
