"""The model `maskery/nano`: a small network, trained from scratch by the programs in `training/`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.models.builtin.nano_postprocess import remove_small_regions
from maskery.models.builtin.nano_prompt import lab_colours
from maskery.models.builtin.nano_window import (
    ASPECT_RATIOS,
    Bytes,
    Floats,
    Window,
    cells,
    crop,
    encode_prompt,
    paste_window,
    resize,
    resize_logits,
    sample_window,
    window_around,
)
from maskery.models.runtime import Backend, Graph, Network, choose_precision, open_backend
from maskery.segmentation import Candidates, Earlier, Embedding, Image, ObjectPrompt, Size

#: Files of the graphs.
ENCODER, DECODER = "nano-encoder.onnx", "nano-decoder.onnx"

_HERE = Path(__file__).parent
_FEATURES = ("half", "quarter", "eighth")
_OUTPUTS = ("logits", "scores")

_TOKEN_SIDE = 16

# Longer side of the copy of an image from which windows are cut.
_KEPT_SIDE = 768

# A window with a larger share of the image shows little more detail than the whole image.
_LARGEST_WINDOW = 0.75


@dataclass(frozen=True, eq=False)
class _View:
    """A window of an image as the network sees it.

    Attributes:
        window: in pixels of the image.
        features: by name, float32 [1 or 2, channels, rows, columns]: of the pixels and, if there are two, of their
            mirror image.
        colours: float32 [rows, columns, 3], see `lab_colours`.
    """

    window: Window
    features: dict[str, Floats]
    colours: Floats

    @property
    def unmirrored(self) -> "_View":
        return replace(self, features={name: each[:1] for name, each in self.features.items()})


class Nano:
    """Decodes every prompt in two passes on the stored features of an image.

    A single point has three candidates, ordered by predicted IoU. Its first pass sees the image and its mirror image
    and averages the two. The second pass refines the first candidate, whose score becomes the mean of both passes. Any
    other prompt has one candidate. The second pass starts from the mask of the first, in a window around it that is cut
    from a copy of the image, or in the whole image if the window would be most of it.

    Objects are decoded one by one, so that none depends on another. Thread-safe.

    Args:
        precision: value of the setting; int8, which this model does not have, is auto.
        folder: of the graphs.
        cache: folder for compiled networks, see `Network`.
        backend: that runs the graphs; None: OpenVINO on the CPU.

    Raises:
        DeviceError: the backend does not support the precision.
    """

    name = "maskery/nano"
    encode_out_of_process = False
    max_batch = 1
    warmup_aspect_ratios = ASPECT_RATIOS

    def __init__(
        self, precision: str = "auto", folder: Path = _HERE, cache: Path | None = None, backend: Backend | None = None
    ) -> None:
        backend = backend or open_backend("cpu")
        computed = choose_precision(precision, backend)
        self.revision = f"5-{computed}"
        # A size that changes costs the encoder nothing; the decoder would be half as fast again in bf16.
        any_size = {"image": (0, 2, 3)}
        encoder, decoder = Graph(folder / ENCODER), Graph(folder / DECODER)
        self.encoder = Network(lambda: encoder, computed, _FEATURES, dynamic=any_size, cache=cache, backend=backend)
        self.decoder = Network(lambda: decoder, computed, _OUTPUTS, cache=cache, backend=backend)

    def encode(self, image: Image) -> Embedding:
        """The features of the image and of its mirror image in half precision, and ``image``, a copy of at most 768
        pixels a side.
        """
        window = Window.whole(image.size)
        pixels = _copy(image.pixels)
        features, small = self._encode(pixels, window, mirrored=True)
        arrays: dict[str, NDArray[np.generic]] = {name: features[name].astype(np.float16) for name in _FEATURES}
        arrays["colours"] = small
        arrays["image"] = pixels
        shape = window.shape
        return Embedding(arrays, image.size, (shape.rows // _TOKEN_SIDE) * (shape.columns // _TOKEN_SIDE))

    def decode(
        self, embedding: Embedding, objects: Sequence[ObjectPrompt], earlier: Sequence[Earlier | None] | None = None
    ) -> list[Candidates]:
        """Three candidates for a single point, one for any other prompt."""
        views = 2 if any(prompt.is_ambiguous for prompt in objects) else 1
        features = {name: embedding.arrays[name][:views].astype(np.float32) for name in _FEATURES}
        colours = lab_colours(embedding.arrays["colours"].astype(np.uint8, copy=False))
        whole = _View(Window.whole(embedding.size), features, colours)
        pixels = embedding.arrays["image"].astype(np.uint8, copy=False)
        results = (self._candidates(whole, pixels, embedding.size, prompt) for prompt in objects)
        return [
            _on_one_grid([remove_small_regions(each, prompt, embedding.size) for each in logits], scores)
            for prompt, (logits, scores) in zip(objects, results, strict=True)
        ]

    def _candidates(self, whole: _View, pixels: Bytes, size: Size, prompt: ObjectPrompt) -> tuple[list[Floats], Floats]:
        """The candidates, best first, float32 [rows, columns] each, and their scores [candidates]."""
        plain = whole.unmirrored
        if not prompt.is_ambiguous:
            start = None if prompt.mask is None else _initial_mask(prompt.mask, plain)
            logits, _ = self._decode(plain, prompt, start, several=False)
            refined, score = self._refine(logits[0], prompt, plain, pixels, size)
            return [refined], np.array([score], np.float32)
        logits, scores = self._decode(whole, prompt, None, several=True)
        # The first pass orders the candidates; the second sees only one of them. A candidate without the point, above
        # all an empty one, scores 0.
        scores = scores * (_at_point(logits, prompt, size) > 0)
        order = np.argsort(-scores, kind="stable")
        candidates, scores = list(logits[order]), scores[order]
        refined, score = self._refine(candidates[0], prompt, plain, pixels, size)
        if _at_point(refined[None], prompt, size) > 0:
            # The mean of two predictions is better than either, and the first candidate stays the best.
            candidates[0], scores[0] = refined, (scores[0] + score) / 2
        return candidates, np.minimum(scores, scores[0])

    def _refine(
        self, logits: Floats, prompt: ObjectPrompt, whole: _View, pixels: Bytes, size: Size
    ) -> tuple[Floats, float]:
        """Second pass over a candidate, and its score."""
        return self._refine_window(logits, prompt, pixels, size) or self._refine_whole(logits, prompt, whole)

    def _refine_window(
        self, logits: Floats, prompt: ObjectPrompt, pixels: Bytes, size: Size
    ) -> tuple[Floats, float] | None:
        """Second pass in the window around a candidate, and its score; None if that is most of the image."""
        window = window_around(logits, prompt, size)
        if window is None or window.width * window.height > _LARGEST_WINDOW * size.pixels:
            return None
        part, window = crop(pixels, window, size)
        features, small = self._encode(part, window)
        view = _View(window, features, lab_colours(small))
        rows, columns = small.shape[:2]
        previous = sample_window(logits, window, size, 2 * rows, 2 * columns)
        refined, scores = self._decode(view, prompt, np.tanh(previous / 2), several=False)
        finest = Size(max(pixels.shape[1], logits.shape[1]), max(pixels.shape[0], logits.shape[0]))
        return paste_window(logits, refined[0], window, size, finest), float(scores[0])

    def _refine_whole(self, logits: Floats, prompt: ObjectPrompt, whole: _View) -> tuple[Floats, float]:
        """Second pass over the whole image, and its score."""
        refined, scores = self._decode(whole, prompt, np.tanh(logits / 2), several=False)
        return refined[0], float(scores[0])

    def _decode(
        self, view: _View, prompt: ObjectPrompt, previous: Floats | None, several: bool
    ) -> tuple[Floats, Floats]:
        """Logits [3, rows, columns] and scores [3]; of them only the first counts unless `several`.

        Args:
            previous: float32 [rows, columns], the mask to start from, -1 to 1.
        """
        rows, columns = view.colours.shape[:2]
        start = np.zeros((2 * rows, 2 * columns), np.float32) if previous is None else previous
        planes = encode_prompt(prompt, view.colours, view.window, several)
        outputs = self.decoder.run({**view.features, "prompt": planes, "previous": start[None, None]})
        return outputs["logits"][0], outputs["scores"][0]

    def _encode(self, pixels: Bytes, window: Window, mirrored: bool = False) -> tuple[dict[str, Floats], Bytes]:
        """The features, and the image at a quarter of the size that the network sees."""
        rows, columns = window.shape
        seen = resize(pixels, rows, columns)
        views = np.stack([seen, seen[:, ::-1]] if mirrored else [seen])
        features = self.encoder.run({"image": views.transpose(0, 3, 1, 2).astype(np.float32)})
        return features, resize(seen, rows // 4, columns // 4)


def load(precision: str = "auto", cache: Path | None = None, backend: Backend | None = None) -> Nano:
    """Load the model; arguments and errors as of `Nano`."""
    return Nano(precision, cache=cache, backend=backend)


def _copy(pixels: Bytes) -> Bytes:
    rows, columns = pixels.shape[:2]
    shrink = _KEPT_SIDE / max(rows, columns)
    if shrink >= 1:
        return pixels.copy()
    return resize(pixels, max(1, round(rows * shrink)), max(1, round(columns * shrink)))


def _at_point(logits: Floats, prompt: ObjectPrompt, size: Size) -> Floats:
    """Logits [candidates] at a single point, from logits [candidates, rows, columns] of the whole image."""
    rows, columns = logits.shape[1:]
    [(column, row)] = cells(prompt.points, size, rows, columns)
    at_point: Floats = logits[:, row, column]
    return at_point


def _on_one_grid(logits: Sequence[Floats], scores: Floats) -> Candidates:
    """Candidates on the grid of the first, which is the finest."""
    rows, columns = logits[0].shape
    resized = [each if each.shape == (rows, columns) else resize_logits(each, rows, columns) for each in logits]
    return Candidates(np.stack(resized), scores.copy(), (float(columns), float(rows)))


def _initial_mask(mask: NDArray[np.bool_], view: _View) -> Floats:
    """A mask prompt on the grid of the output, -1 to 1."""
    rows, columns = view.colours.shape[:2]
    share = cv2.resize(mask.astype(np.float32), (2 * columns, 2 * rows), interpolation=cv2.INTER_AREA)
    return 2 * share.astype(np.float32, copy=False) - 1
