"""`maskery db`: the schema of the accounts database."""

from pathlib import Path

import typer

from maskery.accounts import HEAD, Database
from maskery.errors import UserError
from maskery.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command()
def upgrade() -> None:
    """Upgrade the tables. A server does so when it starts; running this at the same time is safe."""
    database = Database(Settings.load().database)
    changed = database.upgrade()
    typer.echo(f"{database} {'was upgraded to' if changed else 'is already at'} revision {HEAD}.")
    database.close()


@app.command()
def revision() -> None:
    """Show the revision of the tables and the revision that this release needs."""
    location = Settings.load().database
    if isinstance(location, Path) and not location.exists():
        raise UserError(f"the database does not exist yet: the first command that needs {location} creates it.")
    database = Database(location)
    typer.echo(f"{database} is at revision {database.revision() or 'none'}; this release needs {HEAD}.")
    database.close()
