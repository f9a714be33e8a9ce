"""The model `maskery/nano`: a small network of our own, trained from scratch. How it was made is in `training/`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.models.builtin.nano_postprocess import remove_small_regions
from maskery.models.builtin.nano_prompt import lab_colours
from maskery.models.builtin.nano_window import (
    PROPORTIONS,
    Bytes,
    Floats,
    Window,
    cells,
    cut,
    paste_window,
    planes,
    resized,
    sample_window,
    stretched,
    window_around,
)
from maskery.models.runtime import Network, Precision, best_precision
from maskery.segmentation import Candidates, Embedding, Image, ObjectPrompt, Size

#: Files of the graphs.
ENCODER, DECODER = "nano-encoder.onnx", "nano-decoder.onnx"

_HERE = Path(__file__).parent
_FEATURES = ("half", "quarter", "eighth")
_OUTPUTS = ("logits", "scores")

_TOKEN_SIDE = 16

# The copy of an image from which windows are cut, longer side.
_KEPT_SIDE = 768

# A window that is a larger share of the image shows little more than the whole.
_SHARE = 0.75


@dataclass(frozen=True, eq=False)
class _View:
    """A window of an image as the network sees it.

    Attributes:
        window: in pixels of the image.
        features: by name, float32 [1 or 2, channels, rows, columns] each: of the pixels as they are and, if there are
            two, mirrored.
        colours: float32 [rows, columns, 3], see `lab_colours`.
    """

    window: Window
    features: dict[str, Floats]
    colours: Floats

    @property
    def unmirrored(self) -> "_View":
        return replace(self, features={name: each[:1] for name, each in self.features.items()})


class Nano:
    """An image's features are kept; every prompt is joined to them, and looked at twice.

    A single click has three readings, ordered by predicted IoU; the second look goes to the first of them, whose score
    is the mean of both looks' own. A single click says least of what is meant, so its first look is at the image and
    at its mirror image, and the mean counts. Any other prompt has one reading. A second look starts from the answer of
    the first: at a window about it that is cut from a copy of the image, or where that would be most of the image,
    at the whole again.

    Objects are decoded one by one, so that none depends on another. Safe from several threads.

    Args:
        precision: f32 or bf16; None: bf16 where the processor computes in it.
        folder: of the graphs.
    """

    name = "maskery/nano"
    created = 1795392000
    owned_by = "maskery"
    slow_encoder = False
    max_batch = 1
    proportions = PROPORTIONS

    def __init__(self, precision: Precision | None = None, folder: Path = _HERE) -> None:
        self._precision = precision or best_precision()
        self._folder = folder

    @property
    def revision(self) -> str:
        return f"5-{self._precision}"

    def encode(self, image: Image) -> Embedding:
        """Keeps the network's features of the image and of its mirror image, in half precision, and ``image``.

        That is a copy of at most 768 pixels a side.
        """
        window = Window.whole(image.size)
        pixels = _copy(image.pixels)
        features, small = self._encode(pixels, window, mirrored=True)
        arrays: dict[str, NDArray[np.generic]] = {name: features[name].astype(np.float16) for name in _FEATURES}
        arrays["colours"] = small
        arrays["image"] = pixels
        shape = window.shape
        return Embedding(arrays, image.size, (shape.rows // _TOKEN_SIDE) * (shape.columns // _TOKEN_SIDE))

    def decode(self, embedding: Embedding, objects: Sequence[ObjectPrompt]) -> list[Candidates]:
        """Three candidates for an object asked for by a single point, one for any other."""
        views = 2 if any(asked.is_ambiguous for asked in objects) else 1
        features = {name: embedding.arrays[name][:views].astype(np.float32) for name in _FEATURES}
        colours = lab_colours(embedding.arrays["colours"].astype(np.uint8, copy=False))
        whole = _View(Window.whole(embedding.size), features, colours)
        pixels = embedding.arrays["image"].astype(np.uint8, copy=False)
        found = (self._answer(whole, pixels, embedding.size, asked) for asked in objects)
        return [
            _candidates([remove_small_regions(answer, asked, embedding.size) for answer in answers], scores)
            for asked, (answers, scores) in zip(objects, found, strict=True)
        ]

    @cached_property
    def _encoder(self) -> Network:
        graph = self._folder / ENCODER
        return Network(graph, self._precision, _FEATURES, graph)

    @cached_property
    def _decoder(self) -> Network:
        graph = self._folder / DECODER
        return Network(graph, self._precision, _OUTPUTS, graph)

    def _answer(self, whole: _View, pixels: Bytes, size: Size, asked: ObjectPrompt) -> tuple[list[Floats], Floats]:
        """Readings, best first, float32 [rows, columns] each, and their scores [readings]."""
        plain = whole.unmirrored
        if not asked.is_ambiguous:
            start = None if asked.mask is None else _started(asked.mask, plain)
            logits, _ = self._look(plain, asked, start, False)
            answer, score = self._second(logits[0], asked, plain, pixels, size)
            return [answer], np.array([score], np.float32)
        logits, scores = self._look(whole, asked, None, True)
        # What the first look expects orders the readings; the second does not see the others.
        # A reading without what was clicked, an empty one above all, is worth nothing.
        scores = scores * (_at_click(logits, asked, size) > 0)
        order = np.argsort(-scores, kind="stable")
        readings, scores = list(logits[order]), scores[order]
        answer, score = self._second(readings[0], asked, plain, pixels, size)
        if _at_click(answer[None], asked, size) > 0:
            # Two opinions are worth more than either, and no other reading is thought better than the first.
            readings[0], scores[0] = answer, (scores[0] + score) / 2
        return readings, np.minimum(scores, scores[0])

    def _second(
        self, answer: Floats, asked: ObjectPrompt, whole: _View, pixels: Bytes, size: Size
    ) -> tuple[Floats, float]:
        """Another look at an answer, and its score: at its own window unless that is a larger share of the image."""
        return self._closer(answer, asked, pixels, size) or self._again(answer, asked, whole)

    def _closer(self, answer: Floats, asked: ObjectPrompt, pixels: Bytes, size: Size) -> tuple[Floats, float] | None:
        """Another look at an answer's own window, and its score; None if that is a larger share of the image."""
        window = window_around(answer, asked, size)
        if window is None or window.width * window.height > _SHARE * size.pixels:
            return None
        part, window = cut(pixels, window, size)
        features, small = self._encode(part, window)
        view = _View(window, features, lab_colours(small))
        rows, columns = small.shape[:2]
        begun = sample_window(answer, window, size, 2 * rows, 2 * columns)
        logits, scores = self._look(view, asked, np.tanh(begun / 2), False)
        finest = Size(max(pixels.shape[1], answer.shape[1]), max(pixels.shape[0], answer.shape[0]))
        return paste_window(answer, logits[0], window, size, finest), float(scores[0])

    def _again(self, answer: Floats, asked: ObjectPrompt, whole: _View) -> tuple[Floats, float]:
        """Another look at the whole image, and its score."""
        logits, scores = self._look(whole, asked, np.tanh(answer / 2), False)
        return logits[0], float(scores[0])

    def _look(self, view: _View, asked: ObjectPrompt, previous: Floats | None, single: bool) -> tuple[Floats, Floats]:
        """Logits [3, rows, columns] and scores [3]."""
        rows, columns = view.colours.shape[:2]
        begun = np.zeros((2 * rows, 2 * columns), np.float32) if previous is None else previous
        prompt = planes(asked, view.colours, view.window, single)
        found = self._decoder.run({**view.features, "prompt": prompt, "previous": begun[None, None]})
        return found["logits"][0], found["scores"][0]

    def _encode(self, pixels: Bytes, window: Window, mirrored: bool = False) -> tuple[dict[str, Floats], Bytes]:
        """Features, and the image at a quarter of the size that the network sees."""
        rows, columns = window.shape
        seen = resized(pixels, rows, columns)
        views = np.stack([seen, seen[:, ::-1]] if mirrored else [seen])
        features = self._encoder.run({"image": views.transpose(0, 3, 1, 2).astype(np.float32)})
        return features, resized(seen, rows // 4, columns // 4)


def load(precision: str = "auto") -> Nano:
    """The model as a server runs it.

    Args:
        precision: f32, bf16, or what lets the processor decide: auto, and int8, in which nothing is computed here.
    """
    for fixed in get_args(Precision):
        if precision == fixed:
            return Nano(fixed)
    return Nano()


def _copy(pixels: Bytes) -> Bytes:
    rows, columns = pixels.shape[:2]
    shrink = _KEPT_SIDE / max(rows, columns)
    if shrink >= 1:
        return pixels.copy()
    return resized(pixels, max(1, round(rows * shrink)), max(1, round(columns * shrink)))


def _at_click(logits: Floats, asked: ObjectPrompt, size: Size) -> Floats:
    """Logits [readings] at a single click, from logits [readings, rows, columns] of the whole image."""
    rows, columns = logits.shape[1:]
    [(column, row)] = cells(asked.points, size, rows, columns)
    found: Floats = logits[:, row, column]
    return found


def _candidates(answers: Sequence[Floats], scores: Floats) -> Candidates:
    """Readings on one grid: that of the first, which is the finest."""
    rows, columns = answers[0].shape
    logits = np.stack([each if each.shape == (rows, columns) else stretched(each, rows, columns) for each in answers])
    return Candidates(logits, scores.copy(), (float(columns), float(rows)))


def _started(mask: NDArray[np.bool_], view: _View) -> Floats:
    """A mask to start from on the grid of answers, -1 to 1."""
    rows, columns = view.colours.shape[:2]
    share = cv2.resize(mask.astype(np.float32), (2 * columns, 2 * rows), interpolation=cv2.INTER_AREA)
    return 2 * share.astype(np.float32, copy=False) - 1
