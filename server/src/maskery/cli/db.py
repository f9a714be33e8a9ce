"""`maskery db`: the database of accounts."""

from pathlib import Path

import typer

from maskery.accounts import HEAD, Database
from maskery.cli.errors import CommandError
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
    place = Settings.load().database
    if isinstance(place, Path) and not place.exists():
        raise CommandError(f"there is no database yet: {place} is made by the first command that needs it.")
    database = Database(place)
    typer.echo(f"{database} is at revision {database.revision() or 'none'}; this release works with {HEAD}.")
