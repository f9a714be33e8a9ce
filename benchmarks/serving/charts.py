"""The results of `benchmarks.serving` as images: `latency.png` and `load.png`."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from benchmarks.serving.report import Report, time_text
from benchmarks.serving.scenarios import CLIENT_COUNTS

_SHOWN = (
    "new",
    "known",
    "prepared",
    "eight",
    "one image, 16 clients",
    "many images, 16 clients",
    "new, 4 clients",
)
_GRID = "#dddddd"
_TEXT = 8


def draw(report: Report, folder: Path) -> None:
    """Write both charts into a folder."""
    _latency(report, folder / "latency.png")
    _load(report, folder / "load.png")


def _latency(report: Report, path: Path) -> None:
    """For each kind of request a bar per server: the median, and a line to p95."""
    servers = report["servers"]
    titles = {key: each["title"] for server in servers.values() for key, each in server["scenarios"].items()}
    rows: list[tuple[float, str, dict[str, Any]]] = []
    ticks: list[tuple[float, str]] = []
    height = 0.0
    for key in _SHOWN:
        shown = {name: each["scenarios"].get(key, {}) for name, each in servers.items()}
        shown = {name: each for name, each in shown.items() if "p50" in each}
        if not shown:
            continue
        ticks.append((height + (len(shown) - 1) / 2, titles[key].replace(", ", ",\n")))
        for name, numbers in shown.items():
            rows.append((height, name, numbers))
            height += 1
        height += 0.8
    figure = Figure(figsize=(10, 1.6 + 0.27 * height), layout="constrained")
    axes = figure.subplots()
    for place, name, numbers in rows:
        colour = servers[name]["colour"]
        axes.barh(place, numbers["p50"], 0.86, color=colour)
        axes.plot((numbers["p50"], numbers["p95"]), (place, place), color="black", linewidth=1)
        axes.plot(numbers["p95"], place, "|", color="black", markersize=6)
        label = f"{time_text(numbers['p50'])}  ({numbers['answers']})"
        axes.annotate(
            label, (max(numbers["p50"], numbers["p95"]), place), (6, 0), textcoords="offset points", va="center"
        ).set_fontsize(_TEXT)
    for name in dict.fromkeys(name for _, name, _ in rows):
        axes.barh(0, 0, color=servers[name]["colour"], label=name)
    _log(axes, [numbers["p50"] for *_, numbers in rows], [numbers["p95"] for *_, numbers in rows])
    axes.set_yticks([place for place, _ in ticks], [text for _, text in ticks])
    axes.tick_params("y", length=0)
    axes.set_ylim(height - 0.6, -0.8)
    figure.suptitle(f"{_title(report)}\ntime to the mask: median, and a line to p95 (number of answers)")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=110)


def _load(report: Report, path: Path) -> None:
    """Left: clicks with and without new images of other clients. Right: throughput by number of clients."""
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    figure.suptitle(_title(report))
    clicks, throughput = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _clicks(report, clicks)
    _throughput(report, throughput)
    figure.savefig(path, dpi=110)


def _clicks(report: Report, axes: Axes) -> None:
    names: list[str] = []
    values: list[float] = []
    for name, server in report["servers"].items():
        idle, loaded = (server["scenarios"].get(key, {}) for key in ("idle", "loaded"))
        if "p95" not in idle or "p95" not in loaded:
            continue
        place = len(names)
        colour = server["colour"]
        axes.barh(place - 0.19, idle["p95"], 0.34, color=colour, alpha=0.45)
        axes.barh(place + 0.19, loaded["p95"], 0.34, color=colour)
        ratio = f"{time_text(loaded['p95'])}, {loaded['p95'] / idle['p95']:.1f}× idle"
        for level, value, text in ((-0.19, idle["p95"], time_text(idle["p95"])), (0.19, loaded["p95"], ratio)):
            axes.annotate(text, (value, place + level), (4, 0), textcoords="offset points", va="center").set_fontsize(
                _TEXT
            )
        names.append(name)
        values += [idle["p95"], loaded["p95"]]
    axes.set_title("p95 of a click: idle (pale), and while new images are encoded", fontsize=10)
    if names:
        axes.set_yticks(range(len(names)), names)
        axes.tick_params("y", length=0)
        axes.invert_yaxis()
        _log(axes, values, values, room=6)


def _throughput(report: Report, axes: Axes) -> None:
    for name, server in report["servers"].items():
        seen = [
            server["scenarios"].get(f"many images, {clients} client{'s' * (clients > 1)}", {})
            for clients in CLIENT_COUNTS
        ]
        points = [(place, each["throughput"]) for place, each in enumerate(seen) if "throughput" in each]
        if not points:
            continue
        axes.plot(*zip(*points, strict=True), marker="o", color=server["colour"], label=name)
        place, value = points[-1]
        label = axes.annotate(f"{value:.3g}", (place, value), (7, 0), textcoords="offset points", va="center")
        label.set_fontsize(_TEXT)
    axes.set_title("Masks per second, on many known images", fontsize=10)
    axes.set_xticks(range(len(CLIENT_COUNTS)), [f"{clients} client{'s' * (clients > 1)}" for clients in CLIENT_COUNTS])
    axes.set_xlim(-0.3, len(CLIENT_COUNTS) - 0.6)
    axes.set_ylim(bottom=0)
    axes.margins(y=0.15)
    axes.grid(axis="y", color=_GRID)
    _bare(axes)
    if axes.lines:
        axes.legend(frameon=False, fontsize=_TEXT)


def _log(axes: Axes, low: list[float], high: list[float], room: float = 4) -> None:
    axes.set_xscale("log")
    axes.set_xlim(min(low) / 1.8, max(high) * room)
    axes.xaxis.set_major_formatter(lambda seconds, _: time_text(seconds))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=_GRID)
    _bare(axes)


def _bare(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _title(report: Report) -> str:
    where = report["machine"]
    return f"{report['title']}; {where['processor']}, {where['cores']} cores"
