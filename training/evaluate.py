"""How good the exported graphs are on photos that were held out: IoU after each click, and what their scores are worth.

    python -m training.evaluate --data DIR

The measure is the mean over sources, so that large ones do not rule. Choices are made by it, never by a benchmark.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.models.builtin.nano import Nano
from maskery.segmentation import Embedding, Image, Model, ObjectPrompt
from training.cases import Case, Course, cases
from training.clicks import Click
from training.data import open_data
from training.figures import draw

Bytes = NDArray[np.uint8]

# How far a border may be off and still be counted as found, in diagonals of the image.
_NEAR = 0.01


def follow(model: Model, case: Case, clicks: int) -> Course:
    """Click on a thing until it is right or the clicks are spent."""
    embedding = model.encode(Image(case.pixels))
    answers = [np.zeros_like(case.mask)]
    course = Course([], [], [], 0.0, [], [])
    for index in range(clicks):
        click = deepest_error(case.mask, answers[0])
        if click is not None:
            course.clicks.append(click)
            answers, scores = ask(model, embedding, course.clicks)
            if not index:
                first = [iou(case.mask, each) for each in answers]
                course = Course(course.ious, course.borders, first, scores[0], course.clicks, course.answers)
        course.ious.append(iou(case.mask, answers[0]))
        course.borders.append(border_agreement(case.mask, answers[0], _NEAR))
        course.answers.append(answers[0])
    return course


def ask(model: Model, embedding: Embedding, clicks: Sequence[Click]) -> tuple[list[Bytes], list[float]]:
    """Candidates of one object, best first: uint8 [rows, columns] each, 0 or 1, and their scores."""
    points = np.array([(x + 0.5, y + 0.5) for x, y, _ in clicks], np.float32)
    prompt = ObjectPrompt(points, np.array([label for _, _, label in clicks], np.uint8))
    [candidates] = model.decode(embedding, [prompt])
    width, height = embedding.size
    # The grid covers the image to its last cell, as `Candidates.extent` says.
    stretched = [cv2.resize(each, (width, height), interpolation=cv2.INTER_LINEAR) for each in candidates.logits]
    return [(each > 0).astype(np.uint8) for each in stretched], candidates.scores.tolist()


def summarise(found: Sequence[Case], courses: Sequence[Course]) -> dict[str, object]:
    """The measures by name; `mean` is that over sources."""
    curve = np.array([course.ious for course in courses])
    borders = np.array([course.borders for course in courses])
    scores = np.array([course.score for course in courses])
    names = np.array([case.source for case in found])
    by_source = {str(name): curve[names == name].mean(0).round(4).tolist() for name in np.unique(names)}
    ranks = [np.argsort(np.argsort(each)) for each in (scores, curve[:, 0])]
    return {
        "cases": len(courses),
        "mean": np.mean(list(by_source.values()), axis=0).round(4).tolist(),
        "sources": by_source,
        "borders": borders.mean(0).round(4).tolist(),
        "best_candidate": round(float(np.mean([max(course.first) for course in courses])), 4),
        "score_correlation": round(float(np.corrcoef(ranks[0], ranks[1])[0, 1]), 4),
        "score_bias": round(float((scores - curve[:, 0]).mean()), 4),
    }


def border_agreement(mask: Bytes, answer: Bytes, near: float) -> float:
    """F measure of the borders: how much of each lies near the other.

    Args:
        mask, answer: uint8 [rows, columns], 0 or 1.
        near: in diagonals of the image.
    """
    borders = [each - cv2.erode(each, np.ones((3, 3), np.uint8), borderValue=1) for each in (mask, answer)]
    if not (borders[0].any() and borders[1].any()):
        return 0.0
    reach = near * float(np.hypot(*mask.shape))
    close = [cv2.distanceTransform(1 - each, cv2.DIST_L2, 5) <= reach for each in borders]
    found, right = close[1][borders[0] > 0].mean(), close[0][borders[1] > 0].mean()
    return float(2 * found * right / max(found + right, 1e-6))


def deepest_error(mask: Bytes, answer: Bytes) -> Click | None:
    """The middle of what is most wrong; None where nothing is."""
    found = []
    for label, region in ((1, mask & (answer ^ 1)), (0, answer & (mask ^ 1))):
        depth = cv2.distanceTransform(np.pad(region, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        found.append((float(depth[y, x]), (int(x), int(y), label)))
    depth_of, click = max(found, key=lambda each: each[0])
    return click if depth_of else None


def iou(mask: Bytes, answer: Bytes) -> float:
    """Of uint8 masks, 0 or 1."""
    return float((mask & answer).sum() / max(1, (mask | answer).sum()))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--graphs", type=Path, metavar="DIR", help="those that `training.export` wrote; else the shipped"
    )
    parser.add_argument("--clicks", type=int, default=5)
    parser.add_argument("--per-source", type=int, default=60, help="cases, at most")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="draw what came of it")
    options = parser.parse_args(arguments)
    model = Nano(folder=options.graphs) if options.graphs else Nano()
    found = cases(open_data(options.data)[1], options.per_source)
    courses = [follow(model, case, options.clicks) for case in found]
    print(json.dumps({"revision": model.revision, **summarise(found, courses)}, indent=1))
    if options.figures:
        draw(found, courses, options.figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
