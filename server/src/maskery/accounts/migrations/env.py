"""Alembic runs this on the connection that `maskery.accounts.database` opened."""

from alembic import context

from maskery.accounts.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite cannot alter a column, so Alembic copies the table.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
