"""How many replicas a load needs, by simulation with measured service times: `make bench-sizing`.

Images arrive at random (Poisson), each is clicked on several times, and a consistent hash or chance chooses the
replica. A replica is the machine that was measured: clicks are served one after the other and before encodings, as the
encoder process has the lowest priority (preemptive resume); embeddings are kept in a cache, least recently used.
"""

import argparse
import heapq
import json
import math
import random
from bisect import bisect
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, count
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: Virtual nodes of a replica on the ring of the hash, as in `maskery.cluster.deployment`.
VIRTUAL_NODES = 400

# Replicas that are simulated at most: of a larger cluster this is a sample with its part of the load.
_SAMPLE = 300


@dataclass(frozen=True)
class Times:
    """Measured times of one replica, in seconds.

    Attributes:
        encode: all processors encode one image.
        decode: between two answers when clicks keep all processors busy.
        click: from a click on a known image to its answer on an idle machine.
        beside: factor on that while an image is encoded.
    """

    encode: float
    decode: float
    click: float
    beside: float = 1.0

    @classmethod
    def read(cls, results: Path, server: str) -> "Times":
        """Of the results of `make bench-serving`."""
        scenarios = json.loads(results.read_text())["servers"][server]["scenarios"]
        return cls(
            encode=scenarios["new, 4 clients"]["stages"]["encode"],
            # With several clients, on many known images.
            decode=1 / max(each["throughput"] for name, each in scenarios.items() if name.startswith("many ")),
            click=scenarios["known"]["p50"],
            beside=scenarios["loaded"]["p50"] / scenarios["idle"]["p50"],
        )


@dataclass(frozen=True)
class Load:
    """What users do.

    Attributes:
        images: new images per second.
        clicks: on each image, on average (geometric), at least one.
        pause: seconds between an answer and the next click, on average (exponential).
    """

    images: float
    clicks: float
    pause: float


@dataclass(eq=False)
class _Request:
    image: int
    left: int
    sent: float
    first: bool


@dataclass
class _Encoding:
    image: int
    remaining: float
    waiting: list[_Request]


@dataclass
class _Replica:
    """State of a replica.

    Attributes:
        busy_until: when the clicks that have arrived are done.
        advanced: when `_advance` was last called.
        plan: number of the event that ends the first encoding; those with other numbers are void.
    """

    cache: OrderedDict[int, None] = field(default_factory=OrderedDict)
    encodings: list[_Encoding] = field(default_factory=list)
    busy_until: float = 0.0
    advanced: float = 0.0
    plan: int = 0


@dataclass
class Outcome:
    """What a simulation has counted, after the first quarter of its time.

    Attributes:
        clicks: seconds from a click on an image that had been answered before to its answer.
        new: the same for the first click on an image.
        encodings: of images.
        hits: clicks on known images, of all clicks but the first on each image.
    """

    clicks: list[float] = field(default_factory=list)
    new: list[float] = field(default_factory=list)
    encodings: int = 0
    hits: int = 0

    @property
    def hit_rate(self) -> float:
        return self.hits / max(1, len(self.clicks))


class Simulation:
    """One run.

    Args:
        cached: embeddings that fit into the cache of a replica.
        affinity: an image always goes to the same replica.
        seconds: of simulated time.
    """

    def __init__(
        self, times: Times, load: Load, replicas: int, cached: int, affinity: bool, seconds: float, seed: int = 0
    ) -> None:
        self._times, self._load, self._cached, self._affinity = times, load, cached, affinity
        self._seconds = seconds
        self._random = random.Random(seed)
        self._bounds = list(accumulate(ring_shares(replicas, self._random)))
        self._replicas = [_Replica() for _ in range(replicas)]
        self._homes: dict[int, int] = {}
        self._events: list[tuple[float, int, _Request | tuple[int, int]]] = []
        self._numbers = count()
        self._outcome = Outcome()

    def run(self) -> Outcome:
        for image, time in enumerate(self._arrivals()):
            self._send(_Request(image, self._draw_clicks(), time, first=True))
        while self._events:
            now, _, event = heapq.heappop(self._events)
            if now > self._seconds:
                break
            if isinstance(event, _Request):
                self._arrive(now, event)
            else:
                self._end_encoding(now, *event)
        return self._outcome

    def _arrivals(self) -> Iterator[float]:
        time = self._random.expovariate(self._load.images)
        while time < self._seconds:
            yield time
            time += self._random.expovariate(self._load.images)

    def _draw_clicks(self) -> int:
        more = 1 - 1 / self._load.clicks
        return 1 + (int(math.log(1 - self._random.random()) / math.log(more)) if more else 0)

    def _send(self, request: _Request) -> None:
        heapq.heappush(self._events, (request.sent, next(self._numbers), request))

    def _choose(self, image: int) -> int:
        if not self._affinity:
            return self._random.randrange(len(self._replicas))
        if image not in self._homes:
            place = bisect(self._bounds, self._random.random())
            self._homes[image] = min(place, len(self._replicas) - 1)
        return self._homes[image]

    def _arrive(self, now: float, request: _Request) -> None:
        index = self._choose(request.image)
        replica = self._replicas[index]
        self._advance(replica, now)
        if request.image in replica.cache:
            replica.cache.move_to_end(request.image)
            self._outcome.hits += self._counts(request) and not request.first
            self._click(replica, now, request)
        elif running := next((each for each in replica.encodings if each.image == request.image), None):
            running.waiting.append(request)
        else:
            replica.encodings.append(_Encoding(request.image, self._times.encode, [request]))
            self._outcome.encodings += self._counts(request)
        self._plan(index, now)

    def _end_encoding(self, now: float, index: int, plan: int) -> None:
        replica = self._replicas[index]
        if plan != replica.plan:
            return
        self._advance(replica, now)
        done = replica.encodings.pop(0)
        replica.cache[done.image] = None
        while len(replica.cache) > self._cached:
            replica.cache.popitem(last=False)
        for request in done.waiting:
            self._click(replica, now, request)
        self._plan(index, now)

    def _advance(self, replica: _Replica, now: float) -> None:
        """Let the first encoding have the time since the last event in which there were no clicks."""
        if replica.encodings:
            replica.encodings[0].remaining -= max(0.0, now - max(replica.advanced, replica.busy_until))
        replica.advanced = now

    def _plan(self, index: int, now: float) -> None:
        """When the first encoding ends unless more clicks arrive."""
        replica = self._replicas[index]
        replica.plan += 1
        if replica.encodings:
            end = max(now, replica.busy_until) + max(0.0, replica.encodings[0].remaining)
            heapq.heappush(self._events, (end, next(self._numbers), (index, replica.plan)))

    def _click(self, replica: _Replica, now: float, request: _Request) -> None:
        times = self._times
        replica.busy_until = max(now, replica.busy_until) + times.decode
        alone = times.click * (times.beside if replica.encodings else 1.0)
        end = replica.busy_until + max(0.0, alone - times.decode)
        if self._counts(request):
            (self._outcome.new if request.first else self._outcome.clicks).append(end - request.sent)
        if request.left > 1:
            pause = self._random.expovariate(1 / self._load.pause)
            self._send(_Request(request.image, request.left - 1, end + pause, first=False))

    def _counts(self, request: _Request) -> bool:
        return request.sent > self._seconds / 4


def ring_shares(replicas: int, generator: random.Random) -> list[float]:
    """The share of images that each replica has on a ring with virtual nodes at random places."""
    points = sorted((generator.random(), index) for index in range(replicas) for _ in range(VIRTUAL_NODES))
    shares = [0.0] * replicas
    last = points[-1][0] - 1
    for place, index in points:
        shares[index] += place - last
        last = place
    return shares


def p95(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, math.ceil(0.95 * len(values)) - 1)] if values else math.nan


@dataclass(frozen=True)
class Targets:
    """Seconds that 95% of clicks on known images, and of first clicks on new ones, may take."""

    click: float
    new: float


def hits_by_chance(replicas: float, clicks: float) -> float:
    """The hit rate of further clicks on an image if any replica may get them, and caches are large.

    Click j + 1 meets one of the replicas of j earlier ones with 1 - (1 - 1/replicas)**j; the number of clicks is
    geometric.
    """
    misses, more = 1 - 1 / replicas, 1 - 1 / clicks
    return 1 - misses * (1 - more) / (1 - misses * more)


def size(times: Times, load: Load, cached: int, targets: Targets, seconds: float) -> tuple[int, Outcome]:
    """The lowest number of replicas, in steps of 4%, that keeps the targets, and what was counted with it."""
    replicas = max(1, math.ceil(load.images * (times.encode + load.clicks * times.decode)))
    while True:
        part = min(1.0, _SAMPLE / replicas)
        sample = Load(load.images * part, load.clicks, load.pause)
        outcome = Simulation(times, sample, max(1, round(replicas * part)), cached, True, seconds).run()
        if p95(outcome.clicks) <= targets.click and p95(outcome.new) <= targets.new:
            return replicas, outcome
        replicas = max(replicas + 1, math.ceil(replicas * 1.04))


def size_by_chance(times: Times, load: Load, busy: float) -> int:
    """How many replicas the same share of time is busy on, if any of them may get any click."""
    replicas = 1
    while True:
        encodings = 1 + (load.clicks - 1) * (1 - hits_by_chance(replicas, load.clicks))
        needed = math.ceil(load.images * (encodings * times.encode + load.clicks * times.decode) / busy)
        if needed <= replicas:
            return replicas
        replicas = needed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results/serving-base/results.json")
    parser.add_argument(
        "--server", default="maskery bf16", help="which server of these results of `make bench-serving`"
    )
    parser.add_argument("--cores", type=int, default=2, help="processors of the machine that was measured")
    for name in ("encode", "decode", "click", "beside"):
        parser.add_argument(f"--{name}", type=float, help="in place of the measured time")
    parser.add_argument("--clicks", type=float, default=8, help="on an image, on average")
    parser.add_argument("--pause", type=float, default=3, help="seconds between an answer and the next click")
    parser.add_argument("--cached", type=int, default=160, help="embeddings in the cache of a replica")
    parser.add_argument("--click-target", type=float, default=0.15, help="seconds for 95%% of clicks on known images")
    parser.add_argument("--new-target", type=float, default=10, help="seconds for 95%% of clicks on new images")
    parser.add_argument("--seconds", type=float, default=240, help="of simulated time")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.2, 1, 10, 100, 1000], help="images a second")
    named = parser.parse_args()
    measured = vars(Times.read(named.results, named.server))
    times = Times(**{name: measured[name] if (given := getattr(named, name)) is None else given for name in measured})
    targets = Targets(named.click_target, named.new_target)
    print(f"{times}; {named.clicks:g} clicks on an image, {named.pause:g} s between them, {named.cached} images cached")
    print("images/s  replicas  processors  busy  hits  p95 click  p95 new  replicas without affinity  hits without")
    for rate in named.rates:
        load = Load(rate, named.clicks, named.pause)
        replicas, outcome = size(times, load, named.cached, targets, named.seconds)
        busy = rate * (times.encode + named.clicks * times.decode) / replicas
        without = size_by_chance(times, load, busy)
        print(
            f"{rate:8g}  {replicas:8d}  {replicas * named.cores:10d}  {busy:4.0%}  {outcome.hit_rate:4.0%}  "
            f"{p95(outcome.clicks):7.3f} s  {p95(outcome.new):5.1f} s  {without:25d}  "
            f"{hits_by_chance(without, named.clicks):12.0%}"
        )


if __name__ == "__main__":
    main()
