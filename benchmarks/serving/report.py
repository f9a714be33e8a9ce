"""The results of `benchmarks.serving` as tables, on the terminal and in Markdown."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.serving.summary import overhead

Report = dict[str, Any]

#: Columns of relative throughput, and the servers they are relative to.
BASES = {"× plain": "plain f32", "× cache": "plain f32, cache"}
#: Scenarios in a table of their own, side by side.
CLICKS = ("idle", "loaded")

_NOTHING = "–"
_GIB = 2**30
# Load of other programs above which the report warns, as a share of the cores.
_QUIET = 0.05


@dataclass(frozen=True)
class Grid:
    """A table. The first `labels` columns are text, the others numbers."""

    title: str
    head: list[str]
    rows: list[list[str]]
    labels: int = 1
    about: str = ""


def tables(report: Report) -> Iterator[Table]:
    for grid in grids(report):
        drawn = Table(
            title=grid.title, caption=grid.about or None, title_justify="left", caption_justify="left", box=SIMPLE_HEAD
        )
        for place, name in enumerate(grid.head):
            drawn.add_column(name, justify="left" if place < grid.labels else "right", no_wrap=place >= grid.labels)
        for place, row in enumerate(grid.rows):
            last = place + 1 == len(grid.rows)
            drawn.add_row(*row, end_section=not last and grid.labels > 1 and bool(grid.rows[place + 1][0]))
        yield drawn
    notes = Table(show_header=False, box=None)
    for note in _notes(report):
        notes.add_row(f"· {note}")
    yield notes


def markdown(report: Report) -> str:
    lines = [f"# {report['title']}", ""]
    for place, grid in enumerate(grids(report)):
        lines += [f"## {grid.title}", ""]
        lines += [f"| {' | '.join(grid.head)} |"]
        lines += [f"|{' --- |' * grid.labels}{' ---: |' * (len(grid.head) - grid.labels)}"]
        lines += [f"| {' | '.join(row)} |" for row in grid.rows]
        lines += ["", *([grid.about, ""] if grid.about else [])]
        if place < 2:
            lines += [("![latencies](latency.png)", "![under load](load.png)")[place], ""]
    lines += ["## What was measured", "", *(f"- {note}" for note in _notes(report)), ""]
    return "\n".join(lines)


def grids(report: Report) -> list[Grid]:
    servers = report["servers"]
    every = [
        Grid(
            "Requests",
            ["request", "server", "answers", "per second", "p50", "p95", "p99", *BASES],
            list(_requests(servers)),
            labels=2,
            about="× is throughput relative to plain f32 and to plain f32 with a cache. Percentiles are samples, so "
            "that for fewer than 20 answers p95 is the slowest.",
        ),
        Grid(
            "A click while new images of other clients are encoded",
            ["server", "idle p50", "idle p95", "loaded p50", "loaded p95", "p95 × idle", "clicks", "images", "each"],
            list(_clicks(servers)),
            about="One client clicks on a known image, with 0.1 s between a mask and the next click; another sends "
            "new images one after the other. `images` and `each`: their number and median seconds.",
        ),
        Grid(
            "CPU overhead around the model",
            ["server", "request", "per request", "model", "overhead", "share"],
            list(_overhead(servers)),
            labels=2,
            about="Overhead: CPU seconds of all the server's processes per request, on all cores together, less those "
            "of the same call of the same engine without a server, repeated without pause (Maskery's includes scaling "
            "the image, transformers' is given pixel values). Share: relative to the model. For a new image it is a "
            "small difference of large numbers, with a few percent of noise; `--config small`, whose model costs "
            "almost nothing, shows the overhead by itself.",
        ),
        Grid(
            "Stages of a request for a known image, from the server's metrics",
            ["server", "stage", "wall time per request"],
            list(_stages(servers)),
            labels=2,
        ),
        Grid(
            "Processes",
            ["server", "ready after", "first answer after", "memory at the end", "load of other programs"],
            [
                [
                    name,
                    time_text(each["ready_seconds"]),
                    time_text(each["first_answer_seconds"]),
                    f"{each['memory_bytes'] / _GIB:.2f} GiB",
                    f"{each['other_load']:.0%}",
                ]
                for name, each in servers.items()
            ],
            about="The first answer is for a new image, counted from the start of the process. Memory is that of all "
            "processes; shared memory is counted once.",
        ),
    ]
    return [grid for grid in every if grid.rows]


def time_text(seconds: float) -> str:
    if seconds < 0:
        return f"−{time_text(-seconds)}"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _requests(servers: dict[str, Any]) -> Iterator[list[str]]:
    titles = {key: each["title"] for server in servers.values() for key, each in server["scenarios"].items()}
    for key, title in titles.items():
        if key in CLICKS:
            continue
        label = title
        for name, server in servers.items():
            numbers = server["scenarios"].get(key)
            if numbers is None:
                continue
            if "skipped" in numbers:
                yield [label, name, *[_NOTHING] * (5 + len(BASES))]
            else:
                times = [time_text(numbers[each]) for each in ("p50", "p95", "p99")]
                ratios = [_ratio(numbers, servers, base, key) for base in BASES.values()]
                yield [label, name, _answers(numbers), f"{numbers['throughput']:.3g}", *times, *ratios]
            label = ""


def _ratio(numbers: dict[str, Any], servers: dict[str, Any], base: str, key: str) -> str:
    of = servers.get(base, {}).get("scenarios", {}).get(key, {}).get("throughput")
    return f"{numbers['throughput'] / of:.1f}×" if of else _NOTHING


def _answers(numbers: dict[str, Any]) -> str:
    errors = sum(numbers["errors"].values())
    return f"{numbers['answers']}, **{errors} errors**" if errors else str(numbers["answers"])


def _clicks(servers: dict[str, Any]) -> Iterator[list[str]]:
    for name, server in servers.items():
        idle, loaded = (server["scenarios"].get(key, {}) for key in CLICKS)
        if "p50" in idle and "p50" in loaded:
            background = loaded["background"]
            yield [
                name,
                *(time_text(each[share]) for each in (idle, loaded) for share in ("p50", "p95")),
                f"{loaded['p95'] / idle['p95']:.1f}×",
                f"{_answers(idle)}; {_answers(loaded)}",
                f"{background['answers']:.0f}",
                time_text(background["p50"]) if "p50" in background else _NOTHING,
            ]


def _overhead(servers: dict[str, Any]) -> Iterator[list[str]]:
    for name, server in servers.items():
        label = name
        for key, what, again, first in (
            ("known", "a known image", ["decode 1"], []),
            ("eight", "8 objects on a known image", ["decode 8"], []),
            ("new", "a new image", ["encode", "decode 1"], ["encode"]),
        ):
            numbers = server["scenarios"].get(key, {})
            if "cpu" not in numbers:
                continue
            # A server without a cache encodes every time.
            tasks = again if first or server["keeps"] else ["encode", *again]
            rest, own = overhead(numbers, server["model_cost"], tasks)
            yield [label, what, time_text(numbers["cpu"]), time_text(own), time_text(rest), f"{rest / own:.1%}"]
            label = ""


def _stages(servers: dict[str, Any]) -> Iterator[list[str]]:
    for name, server in servers.items():
        label = name
        for stage, seconds in server["scenarios"].get("known", {}).get("stages", {}).items():
            if seconds:
                yield [label, stage, time_text(seconds)]
                label = ""


def _notes(report: Report) -> Iterator[str]:
    where = report["machine"]
    yield f"{where['processor']}, {where['cores']} cores; Python {where['python']}, " + ", ".join(
        f"{name} {number}" for name, number in report["versions"].items()
    )
    yield (
        f"one server at a time, its clients in a process of their own on the same cores; {report['seconds'] / 60:.0f} "
        "minutes in total"
    )
    yield (
        f"JPEGs of 2 megapixels, {report['image_bytes'] / 1e6:.2f} MB, as base64 in JSON; a click differs from "
        "request to request; the mask is a PNG of the image's size. Random weights make its edges ragged, which makes "
        "the PNG of every server larger than that of a trained model"
    )
    yield "a client waits for an answer before its next request; latency ends with the last byte of the answer"
    yield (
        "plain: FastAPI around transformers' SamHQModel with its defaults (sdpa attention), `def` endpoint, a lock "
        "around the model; cache: caches the embeddings of the last 32 images by the digest of their bytes; no lock: "
        "several threads in the model at once. It needs no key"
    )
    others = max(server["other_load"] for server in report["servers"].values())
    if others > _QUIET:
        yield f"**not a quiet machine**: other programs used up to {others:.0%} of its cores"
    for name, why in report["failed"].items():
        yield f"**failed**: {why if why.startswith(name) else f'{name}: {why}'}"
    for name, server in report["servers"].items():
        for each in server["scenarios"].values():
            if "skipped" in each:
                yield f"not measured for {name}, {each['title']}: {each['skipped']}"
            for what, count in each.get("errors", {}).items():
                yield f"**errors** of {name}, {each['title']}: {count} × {what}"
