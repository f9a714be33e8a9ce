"""GrabCut from points, a box or a mask: a baseline without training.

Rother, Kolmogorov, Blake: "GrabCut": interactive foreground extraction using iterated graph cuts, SIGGRAPH 2004;
the cuts are OpenCV's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.segmentation import Candidates, Earlier, Embedding, Image, ObjectPrompt, Size

Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Pixels of the working copy. More of them take longer and give the same object with a finer edge.
_WORKING_PIXELS = 50_000

# Relative sizes of the initial guesses: a part of the object, the object, what it belongs to.
_EXTENTS = (0.56, 1.0, 1.4)

# Radius of the disc around a point that is the initial guess, in short sides of the image.
_DISC = 0.25

# A cut that keeps a smaller share of its initial guess has failed: the colours do not separate object and background.
_COLLAPSED = 0.05

_TOKEN_SIDE = 16

# OpenCV requires a rectangle although it uses the trimap.
_NO_BOX = (0, 0, 0, 0)


class GrabCut:
    """The model `maskery/grabcut`: a cut from each of three initial guesses of different size.

    The score of a candidate rises with its mean IoU with all three (an object with a clear edge is found from any
    guess) and with the image's gradient along its edge, and falls with the share of the image's border that it covers.
    A constant factor scales it to the IoUs that were measured.
    """

    name = "maskery/grabcut"
    revision = "1"
    encode_out_of_process = False
    max_batch = 1
    warmup_aspect_ratios = (1.0,)

    def encode(self, image: Image) -> Embedding:
        """A small copy: ``image``, uint8 [rows, columns, 3]."""
        columns, rows = _working_size(image.size)
        small = cv2.resize(image.pixels, (columns, rows), interpolation=cv2.INTER_AREA)
        tokens = -(-columns // _TOKEN_SIDE) * -(-rows // _TOKEN_SIDE)
        return Embedding({"image": small}, image.size, tokens)

    def decode(
        self, embedding: Embedding, objects: Sequence[ObjectPrompt], earlier: Sequence[Earlier | None] | None = None
    ) -> list[Candidates]:
        """Three candidates per object; logits are distances to the edge, in cells of the small copy.

        A cell that holds a positive point is inside, one that holds only negative points is outside.
        """
        image = embedding.arrays["image"].astype(np.uint8, copy=False)
        gradient = _relative_gradient(image)
        return [_candidates(image, gradient, _Hints.of(each, embedding.size, image)) for each in objects]


def _working_size(size: Size) -> tuple[int, int]:
    """(columns, rows) with the image's aspect ratio, at most `_WORKING_PIXELS` and no more than the image has."""
    shrink = min(1.0, (_WORKING_PIXELS / size.pixels) ** 0.5)
    rows = min(max(1, round(size.height * shrink)), _WORKING_PIXELS)
    columns = min(max(1, round(size.width * shrink)), _WORKING_PIXELS // rows)
    return columns, rows


def _relative_gradient(image: Bytes) -> Floats:
    """Magnitude of the gradient divided by its mean, float32 [rows, columns]; 0 in an image of one colour."""
    smooth = cv2.GaussianBlur(image, (0, 0), 1).astype(np.float32)
    slopes = [cv2.Sobel(smooth, cv2.CV_32F, dx, 1 - dx).reshape(image.shape) for dx in (0, 1)]
    length: Floats = np.sqrt((slopes[0] ** 2 + slopes[1] ** 2).sum(axis=2))
    return length / max(float(length.mean()), 1e-3)


@dataclass(frozen=True, eq=False)
class _Hints:
    """A prompt on the working grid; arrays are [rows, columns].

    Attributes:
        on, off: bool, the cells around positive points and around negative points; no cell is in both.
        to_on, to_off: float32, distance in cells to the nearest such point; huge without any.
        box: bool, the cells that the box touches, or None.
        ellipse: float32, 1 on the ellipse inscribed in the box, less inside; or None.
        mask: float32, distance in cells to the edge of the mask prompt, positive inside; or None.
    """

    on: Bools
    off: Bools
    to_on: Floats
    to_off: Floats
    box: Bools | None
    ellipse: Floats | None
    mask: Floats | None

    @classmethod
    def of(cls, prompt: ObjectPrompt, size: Size, image: Bytes) -> "_Hints":
        rows, columns = image.shape[:2]
        scale = np.array((columns / size.width, rows / size.height))
        cells = ((np.floor(prompt.points) + 0.5) * scale).astype(np.intp).clip(0, (columns - 1, rows - 1))
        to_on, to_off = (_distance_to(cells[prompt.labels == label], (rows, columns)) for label in (1, 0))
        # The neighbours of a point's cell are included, so that upsampling cannot move the edge over the point.
        belongs = to_on <= to_off
        box = ellipse = mask = None
        if prompt.box is not None:
            box, ellipse = _box_and_ellipse(prompt.box.reshape(2, 2) * scale, (rows, columns))
        if prompt.mask is not None and prompt.mask.any():
            share = cv2.resize(prompt.mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
            mask = _signed_distance(share > min(0.5, share.max() / 2))
        return cls(belongs & (to_on < 2), ~belongs & (to_off < 2), to_on, to_off, box, ellipse, mask)

    def guess(self, extent: float) -> tuple[Bools, Bools]:
        """The cells that may be object, and the initial guess; bool [rows, columns] each."""
        reach = extent * _DISC * min(self.on.shape)
        near = self.to_on < reach
        if self.mask is not None:
            side = np.count_nonzero(self.mask > 0) ** 0.5
            possible, guessed = self.mask > -side / 2, self.mask > (1 - extent) * side / 10
        elif self.box is not None and self.ellipse is not None:
            possible, guessed = self.box, self.box & (self.ellipse <= 0.5 + 0.4 * extent)
        else:
            possible, guessed = self.to_on < 2 * reach, near
        if self.box is not None:
            possible, guessed = possible & self.box, guessed & self.box
        guessed = (guessed | near) & ((self.to_off >= reach) | (self.to_on <= self.to_off))
        possible = (possible | guessed | self.on) & ~self.off
        guessed = (guessed | self.on) & ~self.off
        return possible, guessed if guessed.any() else possible


def _distance_to(cells: NDArray[np.intp], shape: tuple[int, int]) -> Floats:
    if not len(cells):
        return np.full(shape, 1e6, np.float32)
    elsewhere = np.ones(shape, np.uint8)
    elsewhere[cells[:, 1], cells[:, 0]] = 0
    return _distance(elsewhere)


def _distance(elsewhere: Bytes) -> Floats:
    """Distance in cells to the nearest 0, float32 [rows, columns]; huge without any."""
    distance = cv2.distanceTransform(elsewhere, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Squared distances are integers. Rounding removes differences in the last bit between OpenCV's threads.
    return np.sqrt(np.rint(np.square(distance, dtype=np.float64))).astype(np.float32)


def _box_and_ellipse(corners: NDArray[np.float64], shape: tuple[int, int]) -> tuple[Bools, Floats]:
    rows, columns = shape
    low = np.floor(corners[0]).clip(0, (columns - 1, rows - 1))
    high = np.maximum(np.ceil(corners[1]), low + 1)
    half, centre = (high - low) / 2, (high + low) / 2
    x = np.abs(np.arange(columns) + 0.5 - centre[0]) / half[0]
    y = np.abs(np.arange(rows) + 0.5 - centre[1])[:, None] / half[1]
    return (x <= 1) & (y <= 1), np.hypot(x, y).astype(np.float32)


def _candidates(image: Bytes, gradient: Floats, hints: _Hints) -> Candidates:
    masks = np.stack([_cut(image, hints, *hints.guess(extent)) for extent in _EXTENTS])
    scores = _scores(masks, gradient)
    order = np.argsort(-scores, kind="stable")
    logits = np.stack([_signed_distance(mask) for mask in masks[order]])
    rows, columns = gradient.shape
    return Candidates(logits, scores[order], (float(columns), float(rows)))


def _cut(image: Bytes, hints: _Hints, possible: Bools, guessed: Bools) -> Bools:
    """The mask that GrabCut makes of an initial guess, or the guess itself where colours do not help."""
    if guessed.all() or not guessed.any() or (image == image[0, 0]).all():
        return _clean(guessed, hints)
    trimap = np.where(guessed, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[~possible] = cv2.GC_BGD
    trimap[hints.on] = cv2.GC_FGD
    # OpenCV has a random generator per thread. Seeding it gives the same mask on any of them.
    cv2.setRNGSeed(0)
    cv2.grabCut(image, trimap, _NO_BOX, np.zeros((1, 65)), np.zeros((1, 65)), 1, cv2.GC_INIT_WITH_MASK)
    found = _clean((trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD), hints)
    collapsed = np.count_nonzero(found & guessed) < _COLLAPSED * np.count_nonzero(guessed)
    return _clean(guessed, hints) if collapsed else found


def _clean(mask: Bools, hints: _Hints) -> Bools:
    """Smooth the edge, remove specks, and fill holes without a negative point."""
    smooth = cv2.medianBlur(mask.astype(np.uint8), 5).reshape(mask.shape) > 0
    parts = _components(((smooth if smooth.any() else mask) | hints.on) & ~hints.off)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept = np.unique(parts[hints.on]) if hints.on.any() else np.flatnonzero(sizes > sizes.max() / 10)
    outside = _components(np.pad(~np.isin(parts, kept), 1, constant_values=True))
    open_parts = np.append(np.unique(outside[1:-1, 1:-1][hints.off]), outside[0, 0])
    return ~np.isin(outside, open_parts)[1:-1, 1:-1]


def _components(mask: Bools) -> NDArray[np.int32]:
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1].astype(np.int32, copy=False)


def _signed_distance(mask: Bools) -> Floats:
    """Distance in cells to the edge, positive inside; without an edge, the grid's longer side."""
    inside, outside = (_distance(each.astype(np.uint8)) for each in (mask, ~mask))
    return (np.where(mask, inside - 0.5, 0.5 - outside)).clip(-max(mask.shape), max(mask.shape)).astype(np.float32)


def _scores(masks: Bools, gradient: Floats) -> Floats:
    """Predicted IoU, float32 [masks], of masks [masks, rows, columns]; see `GrabCut`."""
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    shared = flat @ flat.T
    areas = shared.diagonal()
    unions = areas[:, None] + areas - shared
    agreement = (shared / np.maximum(unions, 1)).mean(axis=1)
    border = np.stack([np.concatenate((mask[0], mask[-1], mask[:, 0], mask[:, -1])).mean() for mask in masks])
    contrast = np.array([_along_edge(mask, gradient) for mask in masks])
    scores = 0.45 * (agreement + 0.2 * contrast - border)
    return np.where(areas > 0, scores, 0).clip(0, 1).astype(np.float32)


def _along_edge(mask: Bools, gradient: Floats) -> float:
    shape = mask.astype(np.uint8)
    edge = cv2.morphologyEx(shape, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).reshape(mask.shape) > 0
    return float(gradient[edge].mean()) if edge.any() else 0.0
