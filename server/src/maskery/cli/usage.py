"""`maskery usage`: what accounts have used."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from maskery.accounts import to_csv
from maskery.cli.errors import CommandError
from maskery.cli.records import new_table, open_account_store, print_table

_DAY = "%Y-%m-%d"


def usage(
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    first: Annotated[
        datetime | None, typer.Option(formats=[_DAY], help="First day, in UTC; thirty days ago unless set.")
    ] = None,
    last: Annotated[datetime | None, typer.Option(formats=[_DAY], help="Last day.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for spreadsheets and scripts.")] = False,
) -> None:
    """Show what was used, by day and account. Running servers write every five seconds."""
    since = first.date() if first else datetime.now(UTC).date() - timedelta(days=30)
    if last and last.date() < since:
        raise CommandError(f"--last is {last.date()}, which is before the first day, {since}.")
    uses = open_account_store().usage.list(since, last.date() if last else None, account)
    if csv:
        typer.echo(to_csv(uses), nl=False)
        return
    table = new_table("day", "account", numbers=("requests", "images", "objects", "pixels", "seconds"))
    for use in uses:
        amount = use.usage
        counts = (amount.requests, amount.images, amount.objects, amount.pixels)
        table.add_row(str(use.day), use.account, *(f"{count:,}" for count in counts), f"{amount.seconds:,.1f}")
    print_table(table)
