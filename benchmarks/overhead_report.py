"""The results of `benchmarks.overhead` as a table and as Markdown."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table

Report = dict[str, Any]

_HEAD = ["step", "implementation", "one object", "eight objects", "bytes"]
_WHOLE = "the whole server"

# The steps that do not depend on the mask; the rest of the whole is composition, checks, threads and routing.
_TRANSPORT = (
    "JSON and base64 to a file",
    "digest of the file",
    "mask to PNG, base64 and JSON",
    "HTTP alone: body in, answer out",
)
_PIXELS = "(a new image) file to pixels"


def table(report: Report) -> Table:
    drawn = Table(*_HEAD, title=report["title"], caption="\n".join(_notes(report)))
    for row in _rows(report):
        drawn.add_row(*row, end_section=False)
    return drawn


def markdown(report: Report) -> str:
    rows = [f"| {' | '.join(row)} |" for row in _rows(report)]
    lines = [f"# {report['title']}", "", "CPU time, medians.", ""]
    lines += [f"| {' | '.join(_HEAD)} |", "| --- | --- | ---: | ---: | ---: |", *rows, ""]
    lines += [f"- {note}" for note in _notes(report)]
    return "\n".join(lines) + "\n"


def _rows(report: Report) -> Iterator[list[str]]:
    for what, variants in report["steps"].items():
        for index, variant in enumerate(variants):
            times = [f"{_median(variant, count) * 1000:.2f} ms" for count in (1, 8)]
            made = " and ".join(f"{size:,}" for size in variant["bytes"].values())
            yield ["" if index else what, variant["name"], *times, made]


def _notes(report: Report) -> Iterator[str]:
    where = report["machine"]
    whole, pixels = report["steps"][_WHOLE][0], report["steps"][_PIXELS][0]
    total = {count: _median(whole, count) for count in (1, 8)}
    transport = {count: sum(_median(report["steps"][what][0], count) for what in _TRANSPORT) for count in (1, 8)}
    for name, seconds in report["model"].items():
        for what, cost in (("JSON, digest, base64, PNG and HTTP", transport), (_WHOLE, total)):
            one, eight = (cost[count] / seconds[f"decode {count}"] for count in (1, 8))
            new = (cost[1] + _median(pixels, 1)) / seconds["encode"]
            yield (
                f"{name}: {what}, {cost[1] * 1000:.1f} ms, {one:.0%} of decoding one click; {eight:.0%} of decoding "
                f"eight objects; with a new image's pixels {new:.1%} of encoding it"
            )
    yield f"{where['processor']}, {where['cores']} cores; Python {where['python']}, OpenCV {where['opencv']}"
    yield ", ".join(f"{name} {number}" for name, number in report["versions"].items())


def _median(variant: dict[str, Any], count: int) -> float:
    # The keys of a report read from a JSON file are strings.
    spent = variant["spent"]
    return float(spent[count if count in spent else str(count)]["median"])
