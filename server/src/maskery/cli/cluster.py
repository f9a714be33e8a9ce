"""`maskery cluster`: several replicas of the server on this machine, by Ray Serve."""

import logging
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated

import typer

from maskery import logs
from maskery.cli.account_store import open_account_store
from maskery.cli.serve import greeter
from maskery.errors import UserError
from maskery.serving.tls import read_tls
from maskery.settings import Settings, misspelled

app = typer.Typer(add_completion=False)

_log = logging.getLogger(__name__)


@app.command()
def cluster(
    replicas: Annotated[int, typer.Option(min=1, help="Processes that serve requests.")] = 2,
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one. Default: 8484.")] = None,
    anonymous: Annotated[
        bool | None,
        typer.Option("--anonymous", help="Accept requests without a key, from anyone who can connect."),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Start replicas of the server on this machine. All requests for an image go to the same replica.

    A cluster of several machines is deployed with Ray's own commands: see docs/scaling.md.
    """
    if not find_spec("ray"):
        raise UserError("a cluster needs Ray Serve: pip install 'maskery[cluster]'.")
    settings = Settings.load(host=host, port=port, anonymous=anonymous, log_level=log_level)
    _check(settings)
    logs.configure(settings.log_level, settings.log_format)
    for message in (*misspelled(), *_missing(settings, replicas)):
        _log.warning(message)
    read_tls(settings)
    # Ray takes seconds to import.
    run = import_module("maskery.cluster.local").run
    with open_account_store(settings) as store:
        run(settings, replicas, greeter(settings, store.keys))


def _check(settings: Settings) -> None:
    """Refuse what a cluster cannot do. Its proxy listens on one address."""
    if settings.bridge_listen:
        raise UserError(
            "a cluster has no further address for CVAT: leave MASKERY_BRIDGE_LISTEN out and name CVAT's servers in "
            "MASKERY_CVAT_CLIENTS."
        )


def _missing(settings: Settings, replicas: int) -> list[str]:
    """What the replicas do not share, and what then differs from a single server."""
    missing = []
    if settings.database_url is None:
        missing.append(
            f"accounts are in {settings.database}, which only replicas on this machine can share: for several machines "
            "set MASKERY_DATABASE_URL to a PostgreSQL"
        )
    if settings.redis_url is None and replicas > 1:
        missing.append(
            f"each of the {replicas} replicas counts rate limits by itself, so that an account may send up to "
            f"{replicas} times as many requests: set MASKERY_REDIS_URL to count them together"
        )
    return missing
