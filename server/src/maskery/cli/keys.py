"""`maskery keys`: who may use the server."""

from typing import Annotated

import typer

from maskery.accounts import DEFAULT_SCOPES, SCOPES, ApiKey, Limits
from maskery.cli.errors import CommandError
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
from maskery.settings import Settings

app = typer.Typer(help="Create, list, limit, rotate and revoke API keys.", no_args_is_help=True)

_FOR_EVER = "never"

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `list` shows it.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the key and nothing else, for scripts.")]
Expires = Annotated[
    str | None,
    typer.Option("--expires", metavar="DAYS", help=f"Days that it is good for, or {_FOR_EVER!r}; 90 unless set."),
]


@app.command()
def create(
    account: Annotated[str, typer.Option(help="The account that the key belongs to; made when there is none.")],
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    scopes: Annotated[str, typer.Option(help=f"What it may do, separated by commas: {', '.join(SCOPES)}.")] = ",".join(
        DEFAULT_SCOPES
    ),
    expires: Expires = None,
    limit: LimitOptions = None,
    quiet: Quiet = False,
) -> None:
    """Make a key and print it. It is shown once and kept only as a hash."""
    settings = Settings.load()
    named = [right.strip() for right in scopes.split(",") if right.strip()]
    with mendable():
        key, text = open_account_store(settings).keys.create(
            account, name, named, _seconds(expires, settings.key_seconds), Limits(**read_limits(limit))
        )
    _show(key, text, quiet)


@app.command("list")
def list_keys(
    account: Annotated[str | None, typer.Option(help="Only the keys of this account.")] = None,
) -> None:
    """Show keys, without their secrets. Times are UTC."""
    table = new_table("id", "account", "name", "scopes", "created", "last used", "state", "limits")
    for key in open_account_store().keys.list(account):
        shown = show_time(key.created), show_time(key.last_used), _state(key), show_limits(key.limits)
        table.add_row(key.id, key.account, key.name or "-", ", ".join(key.scopes), *shown)
    print_table(table)


@app.command()
def limit(
    key_id: KeyId,
    limits: LimitArguments,
) -> None:
    """Bound what a key may use, beside the limits of its account."""
    with mendable():
        key = open_account_store().keys.update(key_id, read_limits(limits))
    typer.echo(f"Limits of key {key.id}: {show_limits(key.limits)}.")


@app.command()
def rotate(
    key_id: KeyId,
    overlap: Annotated[float, typer.Option(metavar="HOURS", help="Hours that the old key stays good.", min=0)] = 24.0,
    quiet: Quiet = False,
) -> None:
    """Replace a key by a new one with the same account, name, rights, limits and span, and print it."""
    with mendable():
        key, text = open_account_store().keys.rotate(key_id, overlap * 3600)
    _show(key, text, quiet)
    if not quiet:
        typer.echo(f"The old key stays good for {overlap:g} hours.", err=True)


@app.command()
def revoke(key_id: KeyId) -> None:
    """Make a key useless: here at once, on running servers within five seconds."""
    key = open_account_store().keys.revoke(key_id)
    typer.echo(f"Key {key.id} of account {key.account} is revoked.")


def _show(key: ApiKey, text: str, quiet: bool) -> None:
    typer.echo(text)
    if not quiet:
        until = "does not expire" if key.expires is None else f"expires {show_time(key.expires)} UTC"
        typer.echo(f"Key {key.id} of account {key.account} {until}. Keep it now: it is not shown again.", err=True)


def _state(key: ApiKey) -> str:
    if key.state == "active":
        return "active" if key.expires is None else f"until {show_time(key.expires)}"
    return f"{key.state} {show_time(key.revoked or key.expires)}"


def _seconds(expires: str | None, otherwise: float | None) -> float | None:
    if expires is None:
        return otherwise
    if expires == _FOR_EVER:
        return None
    try:
        days = float(expires)
    except ValueError:
        days = 0.0
    if not 0 < days <= 36500:
        raise CommandError(f"--expires takes a number of days above 0, or {_FOR_EVER!r}, not {expires!r}.")
    return days * 86400
