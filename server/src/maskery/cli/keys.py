"""`maskery keys`: create, list, limit, rotate and revoke API keys."""

from typing import Annotated

import typer

from maskery.accounts import DEFAULT_SCOPES, SCOPES, ApiKey, Limits
from maskery.cli.account_store import (
    LimitArguments,
    LimitOptions,
    checking_values,
    open_account_store,
    read_limits,
    show_limits,
)
from maskery.cli.tables import new_table, print_table, show_time
from maskery.errors import UserError
from maskery.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False)

_NEVER = "never"

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `maskery keys list` shows it.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the key, for scripts.")]
Expires = Annotated[
    str | None,
    typer.Option("--expires", metavar="DAYS", help=f"Lifetime in days, or {_NEVER!r}. Default: MASKERY_KEY_DAYS, 90."),
]


@app.command()
def create(
    account: Annotated[str, typer.Option(help="The account of the key; created if missing.")],
    name: Annotated[str, typer.Option(help="A note on what the key is for.")] = "",
    scopes: Annotated[str, typer.Option(help=f"Scopes, separated by commas: {', '.join(SCOPES)}.")] = ",".join(
        DEFAULT_SCOPES
    ),
    expires: Expires = None,
    limit: LimitOptions = None,
    quiet: Quiet = False,
) -> None:
    """Create a key and print it. It is shown once; only its hash is stored."""
    settings = Settings.load()
    named = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    lifetime = _seconds(expires, settings.key_seconds)
    with checking_values(), open_account_store(settings) as store:
        key, text = store.keys.create(account, name, named, lifetime, Limits(**read_limits(limit)))
    _show(key, text, quiet)


@app.command("list")
def list_keys(
    account: Annotated[str | None, typer.Option(help="List only the keys of this account.")] = None,
) -> None:
    """List keys, without their secrets. Times are UTC."""
    table = new_table("id", "account", "name", "scopes", "created", "last used", "state", "limits")
    with open_account_store() as store:
        for key in store.keys.list(account):
            shown = show_time(key.created), show_time(key.last_used), _state(key), show_limits(key.limits)
            table.add_row(key.id, key.account, key.name or "-", ", ".join(key.scopes), *shown)
    print_table(table)


@app.command()
def limit(key_id: KeyId, limits: LimitArguments) -> None:
    """Change a key's limits, which apply beside those of its account. Limits that are not named stay as they are."""
    with checking_values(), open_account_store() as store:
        key = store.keys.update(key_id, read_limits(limits))
    typer.echo(f"Limits of key {key.id}: {show_limits(key.limits)}.")


@app.command()
def rotate(
    key_id: KeyId,
    overlap: Annotated[
        float, typer.Option(metavar="HOURS", help="Hours for which the old key stays valid.", min=0)
    ] = 24.0,
    quiet: Quiet = False,
) -> None:
    """Replace a key by a new one with the same account, name, scopes, limits and lifetime, and print it."""
    with checking_values(), open_account_store() as store:
        key, text = store.keys.rotate(key_id, overlap * 3600)
    _show(key, text, quiet)
    if not quiet:
        typer.echo(f"The old key stays valid for {overlap:g} hours.", err=True)


@app.command()
def revoke(key_id: KeyId) -> None:
    """Revoke a key. Running servers refuse it within five seconds."""
    with open_account_store() as store:
        key = store.keys.revoke(key_id)
    typer.echo(f"Key {key.id} of account {key.account} revoked.")


def _show(key: ApiKey, text: str, quiet: bool) -> None:
    typer.echo(text)
    if not quiet:
        until = "does not expire" if key.expires is None else f"expires {show_time(key.expires)} UTC"
        typer.echo(f"Key {key.id} of account {key.account} {until}. Store it now: it is not shown again.", err=True)


def _state(key: ApiKey) -> str:
    if key.state == "active":
        return "active" if key.expires is None else f"until {show_time(key.expires)}"
    return f"{key.state} {show_time(key.revoked or key.expires)}"


def _seconds(expires: str | None, default: float | None) -> float | None:
    if expires is None:
        return default
    if expires == _NEVER:
        return None
    try:
        days = float(expires)
    except ValueError:
        days = 0.0
    if not 0 < days <= 36500:
        raise UserError(f"--expires takes a number of days above 0, or {_NEVER!r}, not {expires!r}.")
    return days * 86400
