"""A simulated annotator: where the next click goes, given the ground truth and the mask so far.

The usual protocol of interactive segmentation (Xu et al., Deep Interactive Object Selection, 2016; in this
deterministic form Sofiiuk et al., Reviving Iterative Training with Mask Guidance, 2021): the first click is the
deepest point of the object, each further one the deepest point of the error.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

#: Values of a mask file. Ignored pixels, a band along the edge, do not count.
OBJECT, IGNORE, BACKGROUND = 255, 128, 0

Bools = NDArray[np.bool_]


class Click(NamedTuple):
    """A click on the pixel (x, y), on the object or on the background."""

    x: int
    y: int
    on_object: bool


class Truth(NamedTuple):
    """The ground truth; pixels in neither mask are ignored.

    Attributes:
        wanted: bool [height, width], the object.
        unwanted: bool [height, width], the background.
    """

    wanted: Bools
    unwanted: Bools

    @classmethod
    def from_values(cls, values: NDArray[np.uint8]) -> "Truth":
        """From a mask of `OBJECT`, `BACKGROUND` and `IGNORE`, uint8 [height, width]."""
        return cls(values == OBJECT, values == BACKGROUND)


def next_click(truth: Truth, answer: Bools) -> Click | None:
    """The deepest point of the deeper kind of error: missed (a click on the object) or too much (one off it).

    Args:
        truth: the ground truth.
        answer: bool [height, width], the mask so far; all False before the first click.

    Returns:
        None when there is no error.
    """
    missed, missed_depth = deepest(truth.wanted & ~answer)
    excess, excess_depth = deepest(truth.unwanted & answer)
    if not max(missed_depth, excess_depth):
        return None
    on_object = missed_depth >= excess_depth
    x, y = missed if on_object else excess
    return Click(x, y, on_object)


def deepest(region: Bools) -> tuple[tuple[int, int], float]:
    """The pixel (x, y) farthest from the region's edge, and how far that is; the image's border is an edge.

    Args:
        region: bool [height, width]; when it is empty the distance is 0.
    """
    padded = np.pad(region.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    # Rounded to whole numbers, so that the choice among equally deep pixels does not depend on rounding errors.
    squared = np.rint(np.square(distance, dtype=np.float64))
    y, x = np.unravel_index(int(squared.argmax()), squared.shape)
    return (int(x), int(y)), float(squared[y, x]) ** 0.5


def iou(truth: Truth, answer: Bools) -> float:
    """Intersection over union outside the ignored pixels; 1 where both are empty."""
    union = np.count_nonzero(truth.wanted | (answer & truth.unwanted))
    return np.count_nonzero(truth.wanted & answer) / union if union else 1.0


def clicks_needed(curve: Sequence[float], threshold: float) -> int | None:
    """The number of clicks (NoC) until the IoU first reaches a threshold; None if it never does.

    Args:
        curve: IoU after each click.
    """
    return next((count for count, reached in enumerate(curve, 1) if reached >= threshold), None)


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's rho of two series, equal values sharing their mean rank; NaN where a series is constant."""
    ranks = [_ranks(series) for series in (first, second)]
    centred = [each - each.mean() for each in ranks]
    spread = float(np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum()) / spread if spread else float("nan")


def _ranks(series: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, counts = np.unique(series, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    ranks: NDArray[np.float64] = mean_rank[place]
    return ranks
