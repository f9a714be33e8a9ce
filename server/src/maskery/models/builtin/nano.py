"""The model `maskery/nano`: a small network of our own, trained from scratch. How it was made is in `training/`."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.models.builtin.nano_prompt import PLANES, lab_colours, prompt_planes
from maskery.models.runtime import Network, Precision, best_precision
from maskery.segmentation import Candidates, Embedding, ObjectPrompt, Picture, Size

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

_HERE = Path(__file__).parent
_FEATURES = ("half", "quarter", "eighth")
_OUTPUTS = ("logits", "scores")

# Objects are decoded in calls of these sizes, so that few shapes are compiled.
_CALLS = (4, 2, 1)

_TOKEN_SIDE = 16


class Shape(NamedTuple):
    """Rows and columns of the picture as the network sees it, whole multiples of 16."""

    rows: int
    columns: int


# Few shapes, so that few are compiled; a picture is stretched to the nearest in proportion.
_SHAPES = (Shape(176, 272), Shape(208, 240), Shape(240, 208), Shape(272, 176))


class Nano:
    """A picture's features are kept; every prompt is joined to them.

    A single click has three readings, ordered by predicted IoU. Any other prompt has one, and the network looks twice:
    first from nothing (or from the mask that was given), then from its own first answer. Safe from several threads.

    Args:
        precision: f32 or bf16; None: bf16 where the processor computes in it.
        folder: of the graphs.
    """

    name = "maskery/nano"
    created = 1795392000
    owned_by = "maskery"
    slow_encoder = False
    max_batch = 4 * _CALLS[0]

    def __init__(self, precision: Precision | None = None, folder: Path = _HERE) -> None:
        self._precision = precision or best_precision()
        self._folder = folder

    @property
    def revision(self) -> str:
        return f"1-{self._precision}"

    def encode(self, picture: Picture) -> Embedding:
        """Keeps the network's features in half precision, and ``colours``, a copy of a quarter of their size."""
        shape = _shape(picture.size)
        pixels = _resized(picture.pixels, shape.rows, shape.columns)
        kept = self._encoder.run({"picture": pixels.transpose(2, 0, 1)[None].astype(np.float32)})
        arrays: dict[str, NDArray[np.generic]] = {name: kept[name].astype(np.float16) for name in _FEATURES}
        arrays["colours"] = _resized(pixels, shape.rows // 4, shape.columns // 4)
        tokens = (shape.rows // _TOKEN_SIDE) * (shape.columns // _TOKEN_SIDE)
        return Embedding(arrays, picture.size, tokens)

    def decode(self, embedding: Embedding, objects: Sequence[ObjectPrompt]) -> list[Candidates]:
        """Three candidates for an object asked for by a single point, one for any other."""
        features = {name: embedding.arrays[name].astype(np.float32) for name in _FEATURES}
        colours = lab_colours(embedding.arrays["colours"].astype(np.uint8, copy=False))
        found: list[Candidates] = []
        while len(found) < len(objects):
            count = next(size for size in _CALLS if size <= len(objects) - len(found))
            found += self._answer(features, colours, embedding.size, objects[len(found) : len(found) + count])
        return found

    @cached_property
    def _encoder(self) -> Network:
        graph = self._folder / "nano-encoder.onnx"
        return Network(graph, self._precision, _FEATURES, graph)

    @cached_property
    def _decoder(self) -> Network:
        graph = self._folder / "nano-decoder.onnx"
        return Network(graph, self._precision, _OUTPUTS, graph)

    def _answer(
        self, features: dict[str, Floats], colours: Floats, size: Size, objects: Sequence[ObjectPrompt]
    ) -> list[Candidates]:
        rows, columns = colours.shape[:2]
        prompt = np.empty((len(objects), PLANES, rows, columns), np.float32)
        previous = np.zeros((len(objects), 1, 2 * rows, 2 * columns), np.float32)
        scale = np.array((columns / size.width, rows / size.height), np.float32)
        for index, each in enumerate(objects):
            box = None if each.box is None else each.box * np.tile(scale, 2)
            points = ((np.floor(each.points) + 0.5) * scale).astype(np.float32, copy=False)
            prompt[index] = prompt_planes(colours, points, each.labels, box, each.is_ambiguous)
            if each.mask is not None:
                previous[index, 0] = _started(each.mask, 2 * rows, 2 * columns)
        extent = (2.0 * columns, 2.0 * rows)
        first = self._decoder.run({**features, "prompt": prompt, "previous": previous})
        if all(each.is_ambiguous for each in objects):
            return [_best_first(*answer, extent) for answer in zip(first["logits"], first["scores"], strict=True)]
        looked = np.tanh(first["logits"][:, :1] / 2)
        second = self._decoder.run({**features, "prompt": prompt, "previous": looked})
        return [
            _best_first(first["logits"][index], first["scores"][index], extent)
            if each.is_ambiguous
            else Candidates(second["logits"][index, :1], second["scores"][index, :1], extent)
            for index, each in enumerate(objects)
        ]


def _best_first(logits: Floats, scores: Floats, extent: tuple[float, float]) -> Candidates:
    order = np.argsort(-scores, kind="stable")
    return Candidates(logits[order], scores[order], extent)


def _shape(size: Size) -> Shape:
    """The shape whose proportions are nearest to the picture's."""
    proportion = np.log(size.height / size.width)
    return min(_SHAPES, key=lambda shape: abs(np.log(shape.rows / shape.columns) - proportion))


def _resized(pixels: Bytes, rows: int, columns: int) -> Bytes:
    return cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _started(mask: NDArray[np.bool_], rows: int, columns: int) -> Floats:
    """A mask to start from on the grid of answers, -1 to 1."""
    share = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    return 2 * share.astype(np.float32, copy=False) - 1
