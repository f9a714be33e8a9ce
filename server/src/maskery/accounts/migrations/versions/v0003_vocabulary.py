"""Rename columns to the names in the API: scopes, images, images_per_minute."""

from alembic import op

revision = "0003"
down_revision = "0002"

_RENAMED = (
    ("accounts", "pictures_per_minute", "images_per_minute"),
    ("api_keys", "pictures_per_minute", "images_per_minute"),
    ("api_keys", "rights", "scopes"),
    ("usage", "pictures", "images"),
)


def upgrade() -> None:
    for table, old, new in _RENAMED:
        # Plain SQL: Alembic would copy SQLite's tables for this, which their foreign keys forbid.
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
