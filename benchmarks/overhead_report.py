"""The results of `benchmarks.overhead` as a table and as Markdown."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table

Report = dict[str, Any]

_HEAD = ["step", "way", "one object", "eight objects", "bytes"]
_WHOLE = "the whole server"

# What the model's host does whatever the model answers; the rest of the whole is the mask, checks, threads and routes.
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
    lines = [f"# {report['title']}", "", "Processor time, medians.", ""]
    lines += [f"| {' | '.join(_HEAD)} |", "| --- | --- | ---: | ---: | ---: |", *rows, ""]
    lines += [f"- {note}" for note in _notes(report)]
    return "\n".join(lines) + "\n"


def _rows(report: Report) -> Iterator[list[str]]:
    for what, ways in report["steps"].items():
        for index, way in enumerate(ways):
            times = [f"{_median(way, count) * 1000:.2f} ms" for count in (1, 8)]
            made = " and ".join(f"{size:,}" for size in way["bytes"].values())
            yield ["" if index else what, way["name"], *times, made]


def _notes(report: Report) -> Iterator[str]:
    where = report["machine"]
    whole, pixels = report["steps"][_WHOLE][0], report["steps"][_PIXELS][0]
    window_around = {count: _median(whole, count) for count in (1, 8)}
    carried = {count: sum(_median(report["steps"][what][0], count) for what in _TRANSPORT) for count in (1, 8)}
    for name, seconds in report["model"].items():
        for what, mine in (("JSON, digest, base64, PNG and HTTP", carried), (_WHOLE, window_around)):
            one, eight = (mine[count] / seconds[f"decode {count}"] for count in (1, 8))
            new = (mine[1] + _median(pixels, 1)) / seconds["encode"]
            yield (
                f"{name}: {what}, {mine[1] * 1000:.1f} ms, {one:.0%} of decoding one click; {eight:.0%} of decoding "
                f"eight objects; with a new image's pixels {new:.1%} of encoding it"
            )
    yield f"{where['processor']}, {where['cores']} cores; Python {where['python']}, OpenCV {where['opencv']}"
    yield ", ".join(f"{name} {number}" for name, number in report["versions"].items())


_SAID = {1: "one click", 8: "eight objects"}


def _median(way: dict[str, Any], count: int) -> float:
    # Keys of a report that was read from its file are text.
    spent = way["spent"]
    return float(spent[count if count in spent else str(count)]["median"])
