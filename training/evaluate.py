"""How good a checkpoint is on photos that were held out: IoU after each click, and what its scores are worth.

    python -m training.evaluate --data DIR --checkpoint FILE

The measure is the mean over sources, so that large ones do not rule. Choices are made by it, never by a benchmark.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from maskery.models.builtin.nano_prompt import lab_colours, prompt_planes
from training import checkpoint
from training.cases import Case, Course, cases
from training.clicks import Click
from training.data import read_library, split
from training.figures import draw
from training.network import Nano

Bytes = NDArray[np.uint8]


def follow(network: Nano, case: Case, side: int, clicks: int, looks: int = 2) -> Course:
    """Click on a thing until it is right or the clicks are spent, as the server would answer.

    The best of three readings answers a single click, at once; other prompts are looked at that many times.
    """
    rows, columns = case.pixels.shape[:2]
    shape = fit(rows, columns, side)
    pixels = cv2.resize(case.pixels, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    small = cv2.resize(pixels, (shape[1] // 4, shape[0] // 4), interpolation=cv2.INTER_AREA)
    colours = lab_colours(small.astype(np.uint8, copy=False))
    scale = np.array((shape[1] / columns / 4, shape[0] / rows / 4))
    course = Course([], [], 0.0, [], [])
    answer = np.zeros_like(case.mask)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        features = network.encoder(torch.from_numpy(pixels)[None].permute(0, 3, 1, 2).float() / 127.5 - 1)
        for index in range(clicks):
            click = _deepest_error(case.mask, answer)
            if click is not None:
                course.clicks.append(click)
                points = np.array([(x + 0.5, y + 0.5) for x, y, _ in course.clicks]) * scale
                labels = np.array([label for _, _, label in course.clicks], np.uint8)
                planes = prompt_planes(colours, points.astype(np.float32), labels, None, len(points) == 1)
                single = len(course.clicks) == 1
                logits, scores = _look(network, features, planes, 1 if single else looks)
                best = int(scores.argmax()) if single else 0
                full = cv2.resize(logits.transpose(1, 2, 0), (columns, rows), interpolation=cv2.INTER_LINEAR)
                answers = (full > 0).astype(np.uint8).transpose(2, 0, 1)
                answer = answers[best]
                if not index:
                    first = [_iou(case.mask, each) for each in answers]
                    course = Course(course.ious, first, float(scores[best]), course.clicks, course.answers)
            course.ious.append(_iou(case.mask, answer))
            course.answers.append(answer)
    return course


def _look(
    network: Nano, features: tuple[torch.Tensor, ...], planes: NDArray[np.float32], looks: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits [3, rows, columns] and scores [3] of the last look; each begins with the answer of the one before."""
    prompt = torch.from_numpy(planes)[None]
    previous = torch.zeros(1, 1, 2 * planes.shape[1], 2 * planes.shape[2])
    for _ in range(looks):
        logits, scores = network.decoder(*features, prompt, previous)
        previous = torch.tanh(logits[:, :1] / 2)
    return logits[0].float().numpy(), torch.sigmoid(scores[0].float()).numpy()


def fit(rows: int, columns: int, side: int) -> tuple[int, int]:
    """(rows, columns) of about side × side pixels in nearly the picture's proportions, whole multiples of 16."""
    stretch = min(2.0, max(0.5, rows / columns)) ** 0.5
    return max(1, round(side * stretch / 16)) * 16, max(1, round(side / stretch / 16)) * 16


def summarise(found: Sequence[Case], courses: Sequence[Course]) -> dict[str, object]:
    """The measures by name; `mean` is that over sources."""
    curve = np.array([course.ious for course in courses])
    first = np.array([course.first for course in courses])
    scores = np.array([course.score for course in courses])
    names = np.array([case.source for case in found])
    by_source = {str(name): curve[names == name].mean(0).round(4).tolist() for name in np.unique(names)}
    ranks = [np.argsort(np.argsort(each)) for each in (scores, curve[:, 0])]
    return {
        "cases": len(courses),
        "mean": np.mean(list(by_source.values()), axis=0).round(4).tolist(),
        "sources": by_source,
        "best_of_three": round(float(first.max(1).mean()), 4),
        "first_of_three": round(float(first[:, 0].mean()), 4),
        "score_correlation": round(float(np.corrcoef(ranks[0], ranks[1])[0, 1]), 4),
    }


def _deepest_error(mask: Bytes, answer: Bytes) -> Click | None:
    found = []
    for label, region in ((1, mask & (answer ^ 1)), (0, answer & (mask ^ 1))):
        depth = cv2.distanceTransform(np.pad(region, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        found.append((float(depth[y, x]), (int(x), int(y), label)))
    depth_of, click = max(found, key=lambda each: each[0])
    return click if depth_of else None


def _iou(mask: Bytes, answer: Bytes) -> float:
    return float((mask & answer).sum() / max(1, (mask | answer).sum()))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE")
    parser.add_argument("--side", type=int, nargs="+", default=[256], help="of the picture as the network sees it")
    parser.add_argument("--looks", type=int, nargs="+", default=[2], help="at each prompt")
    parser.add_argument("--clicks", type=int, default=5)
    parser.add_argument("--per-source", type=int, default=60, help="cases, at most")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="draw what came of it")
    options = parser.parse_args(arguments)
    network = checkpoint.averaged(options.checkpoint)
    found = cases(split(read_library(options.data))[1], options.per_source)
    for side in options.side:
        for looks in options.looks:
            courses = [follow(network, case, side, options.clicks, looks) for case in found]
            print(json.dumps({"side": side, "looks": looks, **summarise(found, courses)}), flush=True)
    if options.figures:
        draw(found, courses, options.figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
