"""Thousands of requests for more images than the cache holds: every mask is right, and memory does not grow.

    python -m benchmarks.soak [--requests N] [--early N] [--images N] [--kept N] [--clients N]

It runs one server and its encoder process with a small SAM-HQ network of random weights. The exit status is 1 if a mask
differs from that of the model alone, or if the memory of either process grows by more than 5% after the early requests.
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
from benchmarks.soak.clicks import clicks, expected_masks, image
from benchmarks.soak.clients import Clients, RequestFailed, Responses
from benchmarks.soak.server import NotStarted, running
from maskery.models import Registry, Store
from maskery.segmentation import open_image

#: Fraction by which memory may grow.
MAX_GROWTH = 0.05

_MIB = 2**20


@dataclass(frozen=True)
class Plan:
    """Size of a run.

    Attributes:
        requests: in total.
        early: number of requests before the first measurement of memory.
        images: number of different images.
        kept: number of embeddings that the cache holds.
        clients: requests at the same time.
    """

    requests: int = 2000
    early: int = 200
    images: int = 200
    kept: int = 50
    clients: int = 8


@dataclass(frozen=True)
class Result:
    """Result of a run.

    Attributes:
        responses: of the server.
        early, late: resident bytes by process.
        metrics: of the server, at the end.
        seconds: duration of the run.
    """

    responses: Responses
    early: dict[str, int]
    late: dict[str, int]
    metrics: dict[str, float]
    seconds: float

    @property
    def growth(self) -> dict[str, float]:
        """Growth of memory by process, as a fraction."""
        return {name: self.late[name] / self.early[name] - 1 for name in self.early}


def soak(plan: Plan, home: Path) -> Result:
    """Run a plan.

    Args:
        home: an empty folder.

    Raises:
        NotStarted, RequestFailed: the server ended before it was ready, or answered with an error.
    """
    store = Store(home / "models")
    store.install_from_folder(model.NAME, model.write(home / "network"))
    network = Registry(store=store).get(model.NAME)
    images = [image(number) for number in range(plan.images)]
    nbytes = network.encode(open_image(images[0])).nbytes
    requests = clicks(plan.requests, plan.images)
    settings = {"cache_bytes": str(nbytes * plan.kept), "preload": model.NAME}
    started = time.monotonic()
    with running(home, **settings) as server:
        clients = Clients(server, model.NAME, images, expected_masks(network, images), plan.clients)
        try:
            clients.run(requests[: plan.early])
            early = server.resident()
            clients.run(requests[plan.early :])
            late = server.resident()
            metrics = clients.metrics()
        finally:
            clients.close()
    return Result(clients.responses, early, late, metrics, time.monotonic() - started)


def main(arguments: Sequence[str] | None = None) -> int:
    plan = _plan(arguments)
    console = Console(soft_wrap=True)
    try:
        with tempfile.TemporaryDirectory() as folder, console.status("running"):
            result = soak(plan, Path(folder))
    except (NotStarted, RequestFailed) as error:
        print(error, file=sys.stderr)
        return 2
    console.print(_memory(plan, result))
    responses, metrics = result.responses, result.metrics
    console.print(
        f"{sum(responses.counts.values()):,} responses in {result.seconds:.0f} s, {responses.counts['id']:,} by id"
        f" ({responses.prepared:,} images prepared); lowest IoU with the expected mask {responses.lowest_iou:.4f}, "
        f"largest difference of scores {responses.largest_difference:.4f}; "
        f"cache: {metrics['maskery_cache_hits_total']:.0f} hits, {metrics['maskery_cache_misses_total']:.0f} misses, "
        f"{metrics['maskery_cache_evictions_total']:.0f} evictions; "
        f"{metrics['maskery_decoded_requests_total']:.0f} requests decoded in "
        f"{metrics['maskery_decode_calls_total']:.0f} calls"
    )
    for line in responses.wrong[:10]:
        console.print(f"wrong: {line}", style="red")
    return int(bool(responses.wrong) or max(result.growth.values()) > MAX_GROWTH)


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
