"""`maskery accounts`: who keys belong to, and how much they may use."""

from typing import Annotated

import typer

from maskery.accounts import Limits
from maskery.cli.records import (
    LimitArguments,
    LimitOptions,
    mendable,
    new_table,
    open_account_store,
    print_table,
    read_limits,
    show_limits,
    show_time,
)

app = typer.Typer(help="Create, list, limit and disable accounts.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The account's name.")]


@app.command()
def create(
    name: Name,
    limit: LimitOptions = None,
) -> None:
    """Make an account. Keys make theirs themselves; this is for limits that hold from the first key on."""
    with mendable():
        account = open_account_store().accounts.create(name, Limits(**read_limits(limit)))
    typer.echo(f"Account {account.name} is made. Limits: {show_limits(account.limits)}.")


@app.command("list")
def list_accounts() -> None:
    """Show all accounts. Times are UTC."""
    table = new_table("account", "created", "state", "limits")
    for account in open_account_store().accounts.list():
        state = "active" if account.disabled is None else f"disabled {show_time(account.disabled)}"
        table.add_row(account.name, show_time(account.created), state, show_limits(account.limits))
    print_table(table)


@app.command()
def limit(
    name: Name,
    limits: LimitArguments,
) -> None:
    """Bound what an account may use. What is not named stays as it is."""
    with mendable():
        account = open_account_store().accounts.update(name, read_limits(limits))
    typer.echo(f"Limits of account {account.name}: {show_limits(account.limits)}.")


@app.command()
def disable(name: Name) -> None:
    """Refuse all keys of an account, until it is enabled again."""
    account = open_account_store().accounts.update(name, disabled=True)
    typer.echo(f"Account {account.name} is disabled.")


@app.command()
def enable(name: Name) -> None:
    """Let the keys of a disabled account in again."""
    account = open_account_store().accounts.update(name, disabled=False)
    typer.echo(f"Account {account.name} is enabled.")
