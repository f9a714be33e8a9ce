"""Cost of authentication: checking a key, and a flood of invalid keys.

    python -m benchmarks.access [--keys 100000] [--database URL] [--rate 200] [--seconds 8] [--rounds 5]

The first part times authentication with ten keys stored and with many. The second starts a server and clicks on a
cached image, with and without a flood of invalid keys.
"""

import argparse
import base64
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.access import checks, flood
from benchmarks.arguments import count
from benchmarks.machine import describe
from benchmarks.soak.server import running
from maskery.accounts import AccountStore

_PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "coffee.png"
_CLICK = [[[285, 150]]]
_FEW = 10


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.access", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--keys", type=count, default=100_000, help="keys stored in the second measurement and by the server"
    )
    parser.add_argument("--checks", type=count, default=2_000, help="checks of each kind")
    parser.add_argument(
        "--database", metavar="URL", help="URL of an empty PostgreSQL database (default: an SQLite file)"
    )
    parser.add_argument("--model", default="maskery/nano", help="model of the valid client's requests")
    parser.add_argument("--rate", type=count, default=200, help="invalid keys per second")
    parser.add_argument("--seconds", type=float, default=8.0, help="duration of a round")
    parser.add_argument("--rounds", type=count, default=5, help="rounds of each kind of flood")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the numbers as JSON")
    options = parser.parse_args(arguments)
    console = Console(soft_wrap=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        database = options.database or home / "maskery.db"
        few = checks.measure(database, _FEW, options.checks)
        many = checks.measure(database, options.keys, options.checks)
        _show_checks(console, few, many, options.keys)
        store = AccountStore.open(database)
        key = store.keys.create("good")[1]
        store.close()
        settings = {"database_url": options.database} if options.database else {}
        body = {
            "model": options.model,
            "image_prompt": base64.b64encode(_PHOTO.read_bytes()).decode(),
            "segment_prompt": _CLICK,
        }
        with running(home, **settings) as server:
            clicks = flood.measure(server.url, body, key, options.seconds, options.rounds, options.rate)
        _show_clicks(console, clicks)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        found = {name: asdict(each) for name, each in clicks.items()}
        kept = {"machine": describe(), "checks_us": {str(_FEW): few, str(options.keys): many}, "clicks_ms": found}
        (options.out / "results.json").write_text(json.dumps(kept, indent=2) + "\n")
    return 0


def _show_checks(console: Console, few: dict[str, float], many: dict[str, float], keys: int) -> None:
    table = Table("median time to check a key, microseconds", title_justify="left")
    table.add_column(f"{_FEW} keys", justify="right")
    table.add_column(f"{keys:,} more keys", justify="right")
    for name, spent in few.items():
        table.add_row(name, f"{spent:,.0f}", f"{many[name]:,.0f}")
    console.print(table)


def _show_clicks(console: Console, clicks: dict[str, flood.Clicks]) -> None:
    table = Table("clicks of the valid client, milliseconds")
    for name in ("p50", "p95", "relative to no flood", "invalid keys/s"):
        table.add_column(name, justify="right")
    still = clicks["no flood"].p50
    for name, each in clicks.items():
        table.add_row(name, f"{each.p50:.1f}", f"{each.p95:.1f}", f"{each.p50 / still:.3f}", f"{each.refused:.0f}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
