"""`maskery accounts`: create, list, limit and disable accounts."""

from typing import Annotated

import typer

from maskery.accounts import Limits
from maskery.cli.account_store import (
    LimitArguments,
    LimitOptions,
    checking_values,
    open_account_store,
    read_limits,
    show_limits,
)
from maskery.cli.tables import new_table, print_table, show_time

app = typer.Typer(no_args_is_help=True, add_completion=False)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The account's name.")]


@app.command()
def create(name: Name, limit: LimitOptions = None) -> None:
    """Create an account.

    `maskery keys create` creates a missing account, too.
    Use this command to set limits before the first key exists.
    """
    with checking_values(), open_account_store() as store:
        account = store.accounts.create(name, Limits(**read_limits(limit)))
    typer.echo(f"Account {account.name} created. Limits: {show_limits(account.limits)}.")


@app.command("list")
def list_accounts() -> None:
    """List all accounts. Times are UTC."""
    table = new_table("account", "created", "state", "limits")
    with open_account_store() as store:
        for account in store.accounts.list():
            state = "active" if account.disabled is None else f"disabled {show_time(account.disabled)}"
            table.add_row(account.name, show_time(account.created), state, show_limits(account.limits))
    print_table(table)


@app.command()
def limit(name: Name, limits: LimitArguments) -> None:
    """Change an account's limits. Limits that are not named stay as they are."""
    with checking_values(), open_account_store() as store:
        account = store.accounts.update(name, read_limits(limits))
    typer.echo(f"Limits of account {account.name}: {show_limits(account.limits)}.")


@app.command()
def disable(name: Name) -> None:
    """Refuse all keys of an account until it is enabled again."""
    with open_account_store() as store:
        account = store.accounts.update(name, disabled=True)
    typer.echo(f"Account {account.name} disabled.")


@app.command()
def enable(name: Name) -> None:
    """Accept the keys of a disabled account again."""
    with open_account_store() as store:
        account = store.accounts.update(name, disabled=False)
    typer.echo(f"Account {account.name} enabled.")
