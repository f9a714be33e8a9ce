"""Accuracy of the masks: IoU after each click of a simulated annotator, clicks to 85% and 90% IoU, and one box.

    python -m benchmarks.accuracy DATA [DATA ...] --model NAME

DATA holds ``images/<id>.*`` and ``masks/<id>.png`` of the same size: 255 object, 0 background, 128 ignored. There is
one object per image, and the clicks accumulate as its points, until 90% IoU and five clicks are reached. The best
candidate is compared, composed at the image's size as the server answers it. As in the server, a model may continue
from what it decoded for the clicks before.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.arguments import count
from benchmarks.clicks import (
    BACKGROUND,
    IGNORE,
    OBJECT,
    Bools,
    Click,
    Truth,
    clicks_needed,
    iou,
    next_click,
    rank_correlation,
)
from benchmarks.machine import describe as machine
from maskery.models import ModelNotInstalled, StoreError, load
from maskery.segmentation import (
    Candidates,
    Earlier,
    Embedding,
    Image,
    Model,
    ObjectPrompt,
    SegmentationError,
    assemble,
    open_image,
)
from maskery.settings import default_home

#: IoU to reach. Clicks are made until the highest of them is reached, and this number in any case.
THRESHOLDS = (0.85, 0.9)
LEAST_CLICKS = 5
RESULTS = Path(__file__).parent / "results"

Result = TypeVar("Result")


class BadData(Exception):  # noqa: N818 - the name states what was found
    """The data folder is incomplete or malformed."""


@dataclass(frozen=True)
class Sample:
    """An image on disk and its mask."""

    name: str
    image: Path
    mask: Path

    def read(self) -> tuple[Image, Truth]:
        """Read the image and its ground truth.

        Raises:
            BadData: names the faulty file.
        """
        try:
            # As stored: the mask does not have the EXIF orientation of its image.
            image = open_image(self.image.read_bytes(), exif="ignore")
        except SegmentationError as error:
            raise BadData(f"{self.image}: {error}") from error
        values = cv2.imread(str(self.mask), cv2.IMREAD_UNCHANGED)
        if values is None or values.ndim != 2 or not np.isin(values, (OBJECT, IGNORE, BACKGROUND)).all():
            raise BadData(f"{self.mask} is not a one-channel mask of {OBJECT}, {IGNORE} and {BACKGROUND}")
        if values.shape != image.pixels.shape[:2]:
            raise BadData(f"{self.mask} is {values.shape[1]}x{values.shape[0]}, its image is {image.size}")
        if not (values == OBJECT).any():
            raise BadData(f"{self.mask} marks no object: no pixel is {OBJECT}")
        return image, Truth.from_values(values.astype(np.uint8, copy=False))


@dataclass(frozen=True)
class Row:
    """The result of one image.

    Attributes:
        name: of the image.
        clicks: the clicks made.
        iou: after each of them.
        scores: predicted by the model, in the same way.
        box: IoU of the answer to the object's box alone.
        encode_seconds: for the image.
        decode_seconds: for each click made, including composition.
    """

    name: str
    clicks: list[Click]
    iou: list[float]
    scores: list[float]
    box: float
    encode_seconds: float
    decode_seconds: list[float]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    console = Console()
    try:
        folders = [(data, find_samples(data)[: options.limit]) for data in options.data]
        model = load(options.model, default_home() / "models")
        measured = {
            data.resolve().name: [
                measure(model, sample, options.clicks)
                for sample in track(samples, f"{options.model} on {data.name}", console=console)
            ]
            for data, samples in folders
        }
    except (BadData, ModelNotInstalled, StoreError) as error:
        print(error, file=sys.stderr)
        return 2
    for name, rows in measured.items():
        folder = options.results / f"accuracy-{options.model.replace('/', '-')}-{name}"
        title = f"{options.model} on {name}, {len(rows)} images"
        summary = summarise(rows, options.clicks)
        report = {
            "model": {"name": model.name, "revision": model.revision},
            "data": name,
            "machine": machine(),
            "summary": summary,
            "images": [asdict(row) for row in rows],
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "results.json").write_text(json.dumps(report, indent=1) + "\n")
        (folder / "results.md").write_text(_markdown(title, summary))
        _draw(title, _curve(rows), folder / "results.png")
        console.print(_table(title, summary))
        console.print(f"Results are in {folder}", soft_wrap=True)
    return 0


def find_samples(data: Path) -> list[Sample]:
    """All images of the folder with their masks, sorted by name.

    Raises:
        BadData: there are none, or an image or a mask lacks its counterpart.
    """
    if not data.is_dir():
        raise BadData(f"{data} is not a folder; it must hold images/<id>.* and masks/<id>.png")
    images, masks = (
        {path.stem: path for path in sorted(folder.glob(pattern))}
        for folder, pattern in ((data / "images", "*.*"), (data / "masks", "*.png"))
    )
    if not images:
        raise BadData(f"{data / 'images'} holds no images; {data} must hold images/<id>.* and masks/<id>.png")
    alone = sorted(images.keys() ^ masks.keys())
    if alone:
        missing = data / ("masks" if alone[0] in images else "images")
        raise BadData(f"{len(alone)} images or masks lack their counterpart: {alone[0]!r} is missing from {missing}")
    return [Sample(name, images[name], masks[name]) for name in sorted(images)]


def measure(model: Model, sample: Sample, clicks: int) -> Row:
    """Click on an image's object until the mask is good, see `THRESHOLDS`, or exact, or the clicks are used up.

    Raises:
        BadData: the image or its mask cannot be used.
    """
    image, truth = sample.read()
    encode_seconds, embedding = _timed(partial(model.encode, image))
    answer = np.zeros_like(truth.wanted)
    row = Row(sample.name, [], [], [], iou(truth, _box(model, embedding, truth)), encode_seconds, [])
    earlier: Earlier | None = None
    while len(row.clicks) < clicks and (len(row.clicks) < LEAST_CLICKS or max(row.iou) < max(THRESHOLDS)):
        click = next_click(truth, answer)
        if click is None:
            break
        row.clicks.append(click)
        prompt = ObjectPrompt(
            np.array([(each.x, each.y) for each in row.clicks], np.float32),
            np.array([each.on_object for each in row.clicks], np.uint8),
        )
        seconds, (candidates, answer, score) = _timed(partial(_decode, model, embedding, prompt, earlier))
        earlier = Earlier(len(row.clicks), candidates) if candidates.state else None
        row.iou.append(iou(truth, answer))
        row.scores.append(score)
        row.decode_seconds.append(seconds)
    return row


def summarise(rows: Sequence[Row], clicks: int) -> dict[str, Any]:
    """The numbers of the report.

    Args:
        clicks: that were made at most, the NoC of an image that never reached a threshold.
    """
    curve = _curve(rows)
    scores = np.array([row.scores[0] for row in rows])
    correlation = rank_correlation(scores, curve[:, 0])
    needed = {threshold: [clicks_needed(row.iou, threshold) for row in rows] for threshold in THRESHOLDS}
    return {
        "images": len(rows),
        "most_clicks": clicks,
        "mean_iou": curve.mean(axis=0).tolist(),
        "median_iou": np.median(curve, axis=0).tolist(),
        "noc": {f"{each:.2f}": float(np.mean([n or clicks for n in needed[each]])) for each in THRESHOLDS},
        "never": {f"{each:.2f}": sum(n is None for n in needed[each]) for each in THRESHOLDS},
        "box": float(np.mean([row.box for row in rows])),
        "score_correlation": None if np.isnan(correlation) else correlation,
        "mean_score": float(scores.mean()),
        "encode_seconds": float(np.median([row.encode_seconds for row in rows])),
        "first_click_seconds": float(np.median([row.decode_seconds[0] for row in rows])),
        "further_click_seconds": float(np.median([second for row in rows for second in row.decode_seconds[1:]] or [0])),
    }


def _decode(
    model: Model, embedding: Embedding, prompt: ObjectPrompt, earlier: Earlier | None = None
) -> tuple[Candidates, Bools, float]:
    """The candidates, the mask bool [height, width] of the first, and its score."""
    [candidates] = model.decode(embedding, [prompt], [earlier])
    mask = assemble([candidates], embedding, [prompt]).masks[0]
    assert mask.values is not None, "composing always gives values"
    return candidates, mask.values > 0, mask.score


def _box(model: Model, embedding: Embedding, truth: Truth) -> Bools:
    """The mask for the object's box."""
    rows, columns = (np.flatnonzero(truth.wanted.any(axis=axis)) for axis in (1, 0))
    box = np.array((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1), np.float32)
    prompt = ObjectPrompt(np.empty((0, 2), np.float32), np.empty(0, np.uint8), box)
    return _decode(model, embedding, prompt)[1]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("data", type=Path, nargs="+", metavar="DATA", help="folder with images/ and masks/")
    parser.add_argument("--model", required=True, metavar="NAME", help="an installed model")
    parser.add_argument("--clicks", type=count, default=20, metavar="N", help="at most, per image (default: 20)")
    parser.add_argument("--limit", type=count, metavar="N", help="only the first N images")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="where to keep the results")
    return parser.parse_args(arguments)


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def _curve(rows: Sequence[Row]) -> NDArray[np.float64]:
    """IoU float64 [images, clicks] after the clicks that are made in any case; that of an exact mask is repeated."""
    least = min(LEAST_CLICKS, max(len(row.iou) for row in rows))
    return np.array([(row.iou + row.iou[-1:] * least)[:least] for row in rows])


def _cells(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Rows of the table: (measure, value)."""
    yield "mean IoU, every click", " ".join(f"{value:.3f}" for value in summary["mean_iou"])
    yield "median IoU, every click", " ".join(f"{value:.3f}" for value in summary["median_iou"])
    yield "mean IoU, one box", f"{summary['box']:.3f}"
    for threshold in THRESHOLDS:
        key, most = f"{threshold:.2f}", summary["most_clicks"]
        yield f"NoC@{threshold * 100:.0f} (at most {most})", f"{summary['noc'][key]:.2f}"
        yield f"never reach {threshold:.0%}", f"{summary['never'][key]} of {summary['images']}"
    correlation = summary["score_correlation"]
    yield "rank correlation of score and IoU, 1 click", "undefined" if correlation is None else f"{correlation:.2f}"
    yield "mean score, 1 click", f"{summary['mean_score']:.3f}"
    for what in ("encode", "first_click", "further_click"):
        yield f"{what.replace('_', ' ')}, median", f"{summary[what + '_seconds'] * 1000:.0f} ms"


def _table(title: str, summary: dict[str, Any]) -> Table:
    table = Table("measure", "value", title=title)
    for what, value in _cells(summary):
        table.add_row(what, value)
    return table


def _markdown(title: str, summary: dict[str, Any]) -> str:
    lines = [f"# {title}", "", "| measure | value |", "| --- | --- |"]
    lines += [f"| {what} | {value} |" for what, value in _cells(summary)]
    where = machine()
    lines += ["", f"{where['processor']}, {where['cores']} cores", "", "![IoU](results.png)", ""]
    return "\n".join(lines)


def _draw(title: str, curve: NDArray[np.float64], path: Path) -> None:
    figure = Figure(figsize=(10, 4), layout="constrained")
    over_clicks, per_image = figure.subplots(1, 2, sharey=True)
    figure.suptitle(title)
    clicks = np.arange(1, curve.shape[1] + 1)
    low, high = np.quantile(curve, (0.25, 0.75), axis=0)
    over_clicks.fill_between(clicks, low, high, alpha=0.2, linewidth=0, label="middle half of the images")
    over_clicks.plot(clicks, curve.mean(axis=0), marker="o", label="mean")
    over_clicks.set(xlabel="clicks", ylabel="IoU", xticks=clicks, ylim=(0, 1))
    per_image.bar(np.arange(len(curve)), np.sort(curve[:, 0]), width=1)
    per_image.set(xlabel="images, sorted", title="after 1 click")
    for axes in (over_clicks, per_image):
        for threshold in THRESHOLDS:
            axes.axhline(threshold, color="gray", linestyle="--", linewidth=1, label=f"{threshold}")
        axes.grid(alpha=0.3)
    over_clicks.legend(loc="lower right")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
