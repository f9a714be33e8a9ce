"""Figures of the model card: what the installed model answers on held-out photos, and what its scores are worth.

python -m training.figures --data DIR --out docs/images
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.evaluate import Case, Click, Session, cases, iou, next_click, packed_cases, shipped

# Photos that may be shown: of no people, of stated origin.
_SHOWN = ("animals", "food", "facades")

_HEIGHT = 180
_CLICKS = 3

Bools = NDArray[np.bool_]


@dataclass(eq=False)
class Course:
    """Clicks on an object, and the answer, its IoU and its score after each of them."""

    clicks: list[Click] = field(default_factory=list)
    answers: list[Bools] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)


def follow(session: Session, case: Case) -> Course:
    """Click up to three times."""
    course, answer = Course(), np.zeros_like(case.mask)
    while len(course.clicks) < _CLICKS and (click := next_click(case, answer)):
        course.clicks.append(click)
        answer, score, _ = session.click(course.clicks)
        course.answers.append(answer)
        course.ious.append(iou(case, answer))
        course.scores.append(score)
    return course


def draw(found: Sequence[Case], courses: Sequence[Course], folder: Path) -> None:
    """``nano-answers.png``, ``nano-failures.png`` and ``nano-calibration.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = [pair for pair in zip(found, courses, strict=True) if pair[0].source in _SHOWN]
    by_iou = sorted(shown, key=lambda pair: pair[1].ious[0])
    spread = [by_iou[index] for index in np.linspace(0, len(by_iou) - 1, 12).round().astype(int)]
    _sheet(spread).savefig(folder / "nano-answers.png", dpi=80)
    _sheet(by_iou[:12]).savefig(folder / "nano-failures.png", dpi=80)
    _calibration(courses).savefig(folder / "nano-calibration.png", dpi=110)


def _sheet(pairs: Sequence[tuple[Case, Course]]) -> Figure:
    """A row for each two cases: what was wanted, the answer after one click and after three."""
    figure = Figure(figsize=(14, 2.4 * -(-len(pairs) // 2)), layout="constrained")
    axes = figure.subplots(-(-len(pairs) // 2), 6, squeeze=False)
    for place in axes.flat:
        place.axis("off")
    for index, (case, course) in enumerate(pairs):
        row = axes[index // 2, 3 * (index % 2) :]
        row[0].imshow(_outlined(case.pixels, case.mask))
        row[0].set_title(f"wanted ({case.source})", fontsize=9)
        for place, clicks in zip(row[1:3], (1, 3), strict=True):
            if clicks <= len(course.answers):
                _show(place, case, course, clicks)
    return figure


def _show(place: Axes, case: Case, course: Course, clicks: int) -> None:
    place.imshow(_outlined(case.pixels, course.answers[clicks - 1]))
    for x, y, label in course.clicks[:clicks]:
        place.plot(x, y, "o", color="lime" if label else "red", markeredgecolor="black", markersize=6)
    title = f"{clicks} clicks: IoU {course.ious[clicks - 1]:.2f}"
    if clicks == 1:
        title = f"1 click: IoU {course.ious[0]:.2f}, score {course.scores[0]:.2f}"
    place.set_title(title, fontsize=9)


def _outlined(pixels: NDArray[np.uint8], mask: Bools) -> NDArray[np.uint8]:
    scale = _HEIGHT / pixels.shape[0]
    dimmed = np.where(mask[:, :, None], pixels, (pixels * 0.35).astype(np.uint8))
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    drawn = cv2.drawContours(np.ascontiguousarray(dimmed), contours, -1, (255, 220, 0), max(1, round(1.5 / scale)))
    return np.asarray(drawn, np.uint8)


def _calibration(courses: Sequence[Course]) -> Figure:
    scores = np.array([course.scores[0] for course in courses])
    ious = np.array([course.ious[0] for course in courses])
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot((0, 1), (0, 1), color="gray", linestyle="--", linewidth=1)
    axes.plot(scores, ious, ".", alpha=0.35, label="an object, one click")
    edges = np.quantile(scores, np.linspace(0, 1, 9))
    owner = np.searchsorted(edges[1:-1], scores)
    means = [(scores[owner == each].mean(), ious[owner == each].mean()) for each in np.unique(owner)]
    axes.plot(*zip(*means, strict=True), "o-", label="mean of an eighth of them")
    axes.set(xlabel="predicted IoU", ylabel="IoU", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left")
    axes.grid(alpha=0.3)
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.figures", description=(__doc__ or "").partition("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, metavar="DIR")
    source.add_argument("--cases", type=Path, metavar="FILE", help="that `training.evaluate --pack` wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--per-source", type=int, default=30)
    options = parser.parse_args(arguments)
    found = packed_cases(options.cases) if options.cases else cases(options.data, options.per_source)
    answers = shipped()
    draw(found, [follow(answers(case.pixels), case) for case in found], options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
