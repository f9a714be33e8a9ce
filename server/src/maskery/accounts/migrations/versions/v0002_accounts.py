"""Accounts; names, scopes, expiry and limits of keys; usage by day."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    accounts = op.create_table(
        "accounts",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("disabled", sa.Float, nullable=True),
        *_limits(),
    )
    keys = sa.table("api_keys", sa.column("account"), sa.column("created"))
    owners = sa.select(keys.c.account, sa.func.min(keys.c.created)).group_by(keys.c.account)
    op.execute(accounts.insert().from_select(["name", "created"], owners))
    with op.batch_alter_table("api_keys") as table:
        table.add_column(sa.Column("name", sa.String(128), nullable=False, server_default=""))
        table.add_column(sa.Column("rights", sa.String(64), nullable=False, server_default="segment,metrics"))
        table.add_column(sa.Column("expires", sa.Float, nullable=True))
        table.add_column(sa.Column("last_used", sa.Float, nullable=True))
        table.add_column(sa.Column("replaced_by", sa.String(16), nullable=True))
        for column in _limits():
            table.add_column(column)
        table.create_foreign_key("api_keys_account", "accounts", ["account"], ["name"])
        table.create_index("api_keys_by_account", ["account"])
    op.create_table(
        "usage",
        sa.Column("account", sa.String(128), primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("pictures", sa.BigInteger, nullable=False),
        sa.Column("objects", sa.BigInteger, nullable=False),
        sa.Column("pixels", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
    )


def _limits() -> list[sa.Column[int]]:
    return [
        sa.Column("requests_per_minute", sa.Integer, nullable=True),
        sa.Column("pictures_per_minute", sa.Integer, nullable=True),
        sa.Column("concurrent_requests", sa.Integer, nullable=True),
        sa.Column("pixels_per_day", sa.BigInteger, nullable=True),
    ]
