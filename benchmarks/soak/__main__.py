"""Thousands of requests, more images than the cache holds: is memory bounded, and is every answer the right one?

    python -m benchmarks.soak [--requests N] [--early N] [--images N] [--kept N] [--clients N]

One server and its encoder, with a small SAM-HQ network of random weights. Ends with status 1 where an answer is not
the one that the model gives alone, or where either process holds more than 5% more at the end than after the early
requests.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.soak import model
from benchmarks.soak.questions import answerer, image, questions
from benchmarks.soak.server import NotStarted, running
from benchmarks.soak.traffic import Clients, Seen, WrongAnswer
from maskery.models import Registry, Store
from maskery.segmentation import open_image

#: Share by which memory may grow.
MAX_GROWTH = 0.05

_MIB = 2**20


@dataclass(frozen=True)
class Plan:
    """How much is asked.

    Attributes:
        requests: in all.
        early: of these, after which memory is looked at first.
        images: different ones.
        kept: whose embeddings the cache holds.
        clients: at the same time.
    """

    requests: int = 2000
    early: int = 200
    images: int = 200
    kept: int = 50
    clients: int = 8


@dataclass(frozen=True)
class Result:
    """What was found.

    Attributes:
        seen: the answers.
        early, late: bytes of memory by process.
        metrics: of the server, at the end.
        seconds: that it took.
    """

    seen: Seen
    early: dict[str, int]
    late: dict[str, int]
    metrics: dict[str, float]
    seconds: float

    @property
    def growth(self) -> dict[str, float]:
        """By process, as a share."""
        return {name: self.late[name] / self.early[name] - 1 for name in self.early}


def soak(plan: Plan, home: Path) -> Result:
    """Carry a plan out.

    Args:
        home: an empty folder.

    Raises:
        NotStarted, WrongAnswer: the server did not get ready, or answered with an error.
    """
    store = Store(home / "models")
    store.install_from_folder(model.NAME, model.write(home / "network"))
    models = Registry(store=store)
    images = [image(number) for number in range(plan.images)]
    nbytes = models.get(model.NAME).encode(open_image(images[0])).nbytes
    asked = questions(plan.requests, plan.images)
    settings = {"cache_bytes": str(nbytes * plan.kept), "preload": model.NAME}
    started = time.monotonic()
    with running(home, **settings) as server:
        clients = Clients(server, model.NAME, images, answerer(models, model.NAME, images), plan.clients)
        try:
            clients.ask(asked[: plan.early])
            early = server.resident()
            clients.ask(asked[plan.early :])
            late = server.resident()
            metrics = clients.metrics()
        finally:
            clients.close()
    return Result(clients.seen, early, late, metrics, time.monotonic() - started)


def main(arguments: Sequence[str] | None = None) -> int:
    plan = _plan(arguments)
    console = Console(soft_wrap=True)
    try:
        with tempfile.TemporaryDirectory() as folder, console.status("soaking"):
            result = soak(plan, Path(folder))
    except (NotStarted, WrongAnswer) as error:
        print(error, file=sys.stderr)
        return 2
    console.print(_memory(plan, result))
    seen, metrics = result.seen, result.metrics
    console.print(
        f"{sum(seen.answers.values()):,} answers in {result.seconds:.0f} s, {seen.answers['id']:,} of them by id "
        f"({seen.prepared:,} times prepared); lowest IoU with the same asked alone {seen.lowest_iou:.4f}, "
        f"scores differ by {seen.largest_difference:.4f} at most; "
        f"cache: {metrics['maskery_cache_hits_total']:.0f} hits, {metrics['maskery_cache_misses_total']:.0f} misses, "
        f"{metrics['maskery_cache_evictions_total']:.0f} evictions; "
        f"{metrics['maskery_decoded_requests_total']:.0f} requests decoded in "
        f"{metrics['maskery_decode_calls_total']:.0f} calls"
    )
    for line in seen.wrong[:10]:
        console.print(f"wrong: {line}", style="red")
    return int(bool(seen.wrong) or max(result.growth.values()) > MAX_GROWTH)


def _memory(plan: Plan, result: Result) -> Table:
    table = Table("memory (VmRSS)", f"after {plan.early:,}", f"after {plan.requests:,}", "growth")
    for name, growth in result.growth.items():
        style = "red" if growth > MAX_GROWTH else None
        late = f"{result.late[name] / _MIB:.1f} MiB"
        table.add_row(name, f"{result.early[name] / _MIB:.1f} MiB", late, f"{growth:+.1%}", style=style)
    return table


def _plan(arguments: Sequence[str] | None) -> Plan:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.partition("\n")[0])
    for name, value in vars(Plan()).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    return Plan(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
