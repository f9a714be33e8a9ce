"""`maskery db`: the database of accounts."""

import typer

from maskery.accounts import HEAD, Database
from maskery.settings import Settings

app = typer.Typer(help="Bring the database of accounts up to date.", no_args_is_help=True)


@app.command()
def upgrade() -> None:
    """Bring the tables up to date. A server does so itself when it starts; two that do it at once do not collide."""
    database = Database(Settings.load().database)
    changed = database.upgrade()
    typer.echo(f"{database} {'was brought to' if changed else 'is at'} revision {HEAD}.")


@app.command()
def revision() -> None:
    """Show the revision of the tables, and that of this release."""
    database = Database(Settings.load().database)
    typer.echo(f"{database} is at revision {database.revision() or 'none'}; this release works with {HEAD}.")
