"""The results of `benchmarks.models` as a table, as Markdown and as a chart."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.table import Table

Report = dict[str, Any]

_TASKS = {"encode": "a new image (encode)", "decode 1": "one click (decode)", "decode 8": "eight objects (decode)"}
_GIB, _MB = 2**30, 1e6


def table(report: Report) -> Table:
    drawn = Table("", *report["engines"], title=report["title"], caption="\n".join(_notes(report)))
    for what, *values in _rows(report):
        drawn.add_row(what, *values)
    return drawn


def markdown(report: Report) -> str:
    lines = [f"# {report['title']}", "", *_grid(["", *report["engines"]], _rows(report)), ""]
    for graph, what in (("encode", "a new image"), ("decode", "one click")):
        work = {name: each["work"][graph] for name, each in report["engines"].items() if each["work"]}
        kinds = list(dict.fromkeys(kind for seconds in work.values() for kind in seconds))
        rows = [[kind, *(_share(seconds, kind) for seconds in work.values())] for kind in kinds]
        lines += [f"Time of {what} by kind of operation, from OpenVINO's counters:", ""]
        lines += [*_grid(["", *work], rows), ""]
    lines += [*(f"- {note}" for note in _notes(report)), "", "![medians](results.png)", ""]
    return "\n".join(lines)


def summary(reports: list[Report]) -> str:
    """All models in one document: a table for each task, then the share of the peak and the memory."""
    engines = list(dict.fromkeys(name for report in reports for name in report["engines"]))
    lines = ["# Models", ""]
    for task, what in _TASKS.items():
        rows = []
        for report in reports:
            mine = report["engines"]
            base = mine[engines[0]]["tasks"][task]["median"]
            medians = (mine[name]["tasks"][task]["median"] if name in mine else None for name in engines)
            rows.append([report["subject"], *("" if each is None else _against(each, base) for each in medians)])
        lines += [f"{what.capitalize()}, median:", "", *_grid(["", *engines], rows), ""]
    rows = []
    for report in reports:
        mine, server = report["engines"], report["memory_of_server"]
        shares = (f"{mine[name]['tasks']['encode']['share_of_peak']:.0%}" if name in mine else "" for name in engines)
        rows.append(
            [report["subject"], *shares, f"{server['server'] / _MB:.0f} MB", f"{server['encoder'] / _MB:.0f} MB"]
        )
    head = ["", *engines, "server", "its encoder process"]
    lines += ["Share of the matrix peak (a new image), and resident memory after 20 requests to a server:", ""]
    lines += [*_grid(head, rows), ""]
    notes = [f"- {report['subject']}: {'; '.join(list(_notes(report))[:3])}" for report in reports]
    return "\n".join([*lines, *notes, ""])


def draw(report: Report, path: Path) -> None:
    engines = report["engines"]
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    figure.suptitle(report["title"])
    names = list(engines)
    base = engines[names[0]]["tasks"]
    for axes, (task, what) in zip(figure.subplots(1, len(_TASKS)), _TASKS.items(), strict=True):
        medians = [engines[name]["tasks"][task]["median"] for name in names]
        bars = axes.barh(names, medians, color=["tab:blue" if "maskery" in name else "silver" for name in names])
        labels = [f" {_time(each)}, {base[task]['median'] / each:.1f}×" for each in medians]
        axes.bar_label(bars, labels)
        axes.set(title=what, xlabel="seconds, median", xlim=(0, max(medians) * 1.6))
        axes.invert_yaxis()
        if task != "encode":
            axes.set_yticklabels([])
    figure.savefig(path, dpi=110)


def _rows(report: Report) -> Iterator[list[str]]:
    """Rows of the table: measure, and the value of each engine."""
    engines = list(report["engines"].values())
    for task, what in _TASKS.items():
        mine = [each["tasks"][task] for each in engines]
        base = mine[0]["median"]
        yield [f"{what}, median", *(_against(each["median"], base) for each in mine)]
        yield ["quickest to slowest", *(f"{_time(each['min'])} to {_time(each['max'])}" for each in mine)]
        yield ["arithmetic", *(f"{each['operations'] / 1e9:.3g} GFLOP" for each in mine)]
        yield ["share of the matrix peak", *(f"{each['share_of_peak']:.0%}" for each in mine)]
    peaks = (f"{each['peak'] / 1e9:.0f} GFLOP/s" if each["peak"] else "" for each in engines)
    yield ["this library's own matrix peak", *peaks]
    yield ["from loading to the first answer", *(_time(each["first_answer_seconds"]) for each in engines)]
    yield ["memory of the process, at most", *(f"{each['memory_bytes'] / _GIB:.2f} GiB" for each in engines)]
    yield ["embedding's relative difference", *(f"{each['embedding_difference']:.1e}" for each in engines)]


def _notes(report: Report) -> Iterator[str]:
    where, graphs = report["machine"], report["graphs"]
    yield f"{where['processor']}, {where['cores']} cores; other programs used {where['other_load']:.0%} of them"
    yield ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    peaks = ", ".join(f"{precision} {rate / 1e9:.0f} GFLOP/s" for precision, rate in sorted(report["peak"].items()))
    yield f"matrix peak: {peaks}; the best result of either library"
    yield f"writing the graphs: {_time(graphs['seconds'])}, {graphs['memory_bytes'] / _GIB:.2f} GiB"
    server = report["memory_of_server"]
    yield (
        f"resident memory of a server after {server['requests']} requests: {server['server'] / _MB:.0f} MB, and of its "
        f"encoder process: {server['encoder'] / _MB:.0f} MB"
    )
    if report["int8_iou"] is not None:
        yield f"int8: share of the peak of the other parts; mean IoU of the masks with f32 {report['int8_iou']:.3f}"
    yield "speed-ups (×) and differences are relative to the first column"


def _grid(head: list[str], rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "| --- " + "| ---: " * (len(head) - 1) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _share(seconds: dict[str, float], kind: str) -> str:
    return f"{seconds.get(kind, 0) / sum(seconds.values()):.1%}"


def _against(seconds: float, base: float) -> str:
    return f"{_time(seconds)}, {base / seconds:.1f}×"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"
