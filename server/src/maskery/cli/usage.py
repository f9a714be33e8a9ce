"""`maskery usage`: usage by day and account."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from maskery.accounts import to_csv
from maskery.cli.account_store import open_account_store
from maskery.cli.tables import new_table, print_table
from maskery.errors import UserError

app = typer.Typer(add_completion=False)

_DAY = "%Y-%m-%d"


@app.command()
def usage(
    account: Annotated[str | None, typer.Option(help="Show only this account.")] = None,
    first: Annotated[
        datetime | None, typer.Option(formats=[_DAY], help="First day, in UTC. Default: thirty days ago.")
    ] = None,
    last: Annotated[datetime | None, typer.Option(formats=[_DAY], help="Last day, in UTC. Default: today.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for spreadsheets and scripts.")] = False,
) -> None:
    """Show usage by day and account. Running servers record it every five seconds."""
    since = first.date() if first else datetime.now(UTC).date() - timedelta(days=30)
    if last and last.date() < since:
        raise UserError(f"--last is {last.date()}, which is before the first day, {since}.")
    with open_account_store() as store:
        uses = store.usage.list(since, last.date() if last else None, account)
    if csv:
        typer.echo(to_csv(uses), nl=False)
        return
    table = new_table("day", "account", numbers=("requests", "images", "objects", "pixels", "seconds"))
    for use in uses:
        amount = use.usage
        counts = (amount.requests, amount.images, amount.objects, amount.pixels)
        table.add_row(str(use.day), use.account, *(f"{count:,}" for count in counts), f"{amount.seconds:,.1f}")
    print_table(table)
