"""The model `maskery/nano`: a small network, trained from scratch by the programs in `training/`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from maskery.models.builtin.nano_fold import Fold, Look, Seen, fold, propose
from maskery.models.builtin.nano_judge import FEATURES, Judge
from maskery.models.builtin.nano_orientation import Orientation
from maskery.models.builtin.nano_prompt import opponent_colours, prompt_planes
from maskery.models.builtin.nano_window import Bytes, Floats, Window, copy_of, previous_mask, resize
from maskery.models.runtime import Backend, Graph, Network, choose_precision, open_backend
from maskery.segmentation import AutomaticDefaults, Candidates, Earlier, Embedding, Image, ObjectPrompt, Size

#: Files of the graph and of the judge's weights, which `training` writes.
GRAPH, JUDGE = "nano.onnx", "nano-judge.npz"

#: Changes with the weights, and with everything else that changes a mask or its score.
REVISION = 10

_HERE = Path(__file__).parent
_TOKEN_SIDE = 16

# Looks in one call of the network. More would take as long, and more memory.
_BATCH = 4


class Nano:
    """Decodes every prompt as a fold over its points, see `nano_fold`.

    A single point has three candidates, ordered by predicted IoU; any other prompt has one. Looks of several objects
    share calls of the network, which computes each as if it were alone. Thread-safe.

    Args:
        precision: value of the setting; int8, which this model does not have, is auto.
        folder: of the graph.
        cache: folder for compiled networks, see `Network`.
        backend: that runs the graph; None: OpenVINO on the CPU.

    Raises:
        DeviceError: the backend does not support the precision.
    """

    name = "maskery/nano"
    encode_out_of_process = False
    max_batch = 16
    # Its scores are calibrated, seldom above 0.8 for a single point, and its masks have softer edges than those of SAM.
    automatic_defaults = AutomaticDefaults(16, 0.6, 0.65)
    # What is compiled serves every shape.
    warmup_aspect_ratios = (1.0,)

    def __init__(
        self, precision: str = "auto", folder: Path = _HERE, cache: Path | None = None, backend: Backend | None = None
    ) -> None:
        backend = backend or open_backend("cpu")
        computed = choose_precision(precision, backend)
        self.revision = f"{REVISION}-{computed}"
        # Every size, so that nothing is compiled once a first look was taken.
        sizes = {"image": (0, 1, 2), "prompt": (0, 2, 3), "previous": (0, 2, 3)}
        outputs = ("logits", *FEATURES)
        graph = Graph(folder / GRAPH)
        self.network = Network(lambda: graph, computed, outputs, dynamic=sizes, cache=cache, backend=backend)
        self._judge = Judge(folder / JUDGE)

    def encode(self, image: Image) -> Embedding:
        """Copies of the image, in its ``orientation``: ``image`` of at most 768 pixels a side, and ``whole`` as the
        network sees all of it.

        The network runs on windows of them when prompts are decoded.
        """
        copy = copy_of(image.pixels)
        orientation = Orientation.of(copy)
        pixels = orientation.apply(copy)
        shape = Window.whole(*pixels.shape[:2]).shape
        tokens = (shape.rows // _TOKEN_SIDE) * (shape.columns // _TOKEN_SIDE)
        arrays = {"image": pixels, "whole": resize(pixels, *shape), "orientation": np.array(orientation, np.bool_)}
        return Embedding(arrays, image.size, tokens)

    def decode(
        self,
        embedding: Embedding,
        objects: Sequence[ObjectPrompt],
        earlier: Sequence[Earlier | None] | None = None,
    ) -> list[Candidates]:
        """Three candidates for a single point, one for any other prompt."""
        views, known = _Views(embedding), earlier or [None] * len(objects)
        return self._run_folds(
            views, [fold(*views.asked(prompt), before) for prompt, before in zip(objects, known, strict=True)]
        )

    def propose(self, embedding: Embedding, objects: Sequence[ObjectPrompt]) -> list[Candidates]:
        """What `decode` has of single points after the first look: half the work, and less detail."""
        views = _Views(embedding)
        return self._run_folds(views, [propose(*views.asked(prompt)) for prompt in objects])

    def _run_folds(self, views: "_Views", folds: Sequence[Fold]) -> list[Candidates]:
        done: dict[int, Candidates] = {}
        looks = {index: next(each) for index, each in enumerate(folds)}
        while looks:
            seen = self._see(views, looks)
            looks = {}
            for index, answer in seen.items():
                try:
                    looks[index] = folds[index].send(answer)
                except StopIteration as end:
                    done[index] = end.value
        return [views.undo(done[index]) for index in range(len(folds))]

    def _see(self, views: "_Views", looks: dict[int, Look]) -> dict[int, Seen]:
        """What the network answers to looks, those of one shape together."""
        groups: dict[tuple[object, bool], list[int]] = {}
        for index, look in looks.items():
            groups.setdefault((look.window.shape, views.is_whole(look.window)), []).append(index)
        seen: dict[int, Seen] = {}
        for (_, is_whole), members in groups.items():
            for start in range(0, len(members), _BATCH):
                batch = members[start : start + _BATCH]
                seen |= zip(batch, self._run(views, [looks[index] for index in batch], is_whole), strict=True)
        return seen

    def _run(self, views: "_Views", looks: Sequence[Look], is_whole: bool) -> list[Seen]:
        images = [views.image(look.window) for look in (looks[:1] if is_whole else looks)]
        colours = [opponent_colours(image) for image in images] * (len(looks) if is_whole else 1)
        prompts = [_planes(look, each) for look, each in zip(looks, colours, strict=True)]
        outputs = self.network.run(
            {
                "image": np.stack(images),
                "prompt": np.stack(prompts),
                "previous": np.stack([_previous(each) for each in looks]),
            }
        )
        seen: list[Seen] = []
        for index, (look, prompt) in enumerate(zip(looks, prompts, strict=True)):
            # One image may serve all prompts.
            features = {name: outputs[name][index if len(outputs[name]) > 1 else 0] for name in FEATURES}
            logits = outputs["logits"][index]
            scores = np.zeros(3, np.float32) if look.window.local else self._judge(logits, prompt, features)
            seen.append((logits, scores))
        return seen


class _Views:
    """An image as the network sees it, and windows of it."""

    def __init__(self, embedding: Embedding) -> None:
        self.pixels: Bytes = embedding.arrays["image"].astype(np.uint8, copy=False)
        self._whole: Bytes = embedding.arrays["whole"].astype(np.uint8, copy=False)
        self._orientation = Orientation(*embedding.arrays["orientation"].astype(np.bool_, copy=False).tolist())
        self._size = embedding.size

    def asked(self, prompt: ObjectPrompt) -> tuple[ObjectPrompt, Size, int, int]:
        """What a fold begins with: the prompt, the image's size, and rows and columns of the copy, as they are seen."""
        rows, columns = self.pixels.shape[:2]
        return self._orientation.prompt(prompt, self._size), self._orientation.size(self._size), rows, columns

    def undo(self, candidates: Candidates) -> Candidates:
        """Candidates as the image lies. Their state stays as it is seen."""
        coded: Any = candidates.logits
        logits = self._orientation.undo(coded)
        rows, columns = logits.shape[1:]
        return replace(candidates, logits=logits, extent=(float(columns), float(rows)))

    def is_whole(self, window: Window) -> bool:
        return not window.local and window == Window.whole(*self.pixels.shape[:2])

    def image(self, window: Window) -> Bytes:
        """uint8 [rows, columns, 3] of the window's shape."""
        return self._whole if self.is_whole(window) else resize(self.pixels[window.slices], *window.shape)


def load(precision: str = "auto", cache: Path | None = None, backend: Backend | None = None) -> Nano:
    """Load the model; arguments and errors as of `Nano`."""
    return Nano(precision, cache=cache, backend=backend)


def _planes(look: Look, colours: Floats) -> Floats:
    """The prompt in its window, see `prompt_planes`."""
    rows, columns = colours.shape[:2]
    down, across = look.window.slices
    corner = np.array((across.start, down.start), np.float32)
    scale = np.array((columns / (across.stop - across.start), rows / (down.stop - down.start)), np.float32)
    prompt = look.prompt
    points = (prompt.points - corner) * scale
    seen = np.all((points > 0) & (points < (columns, rows)), axis=1)
    newest = (points[-1], int(prompt.labels[-1])) if len(points) and seen[-1] else None
    box = None if prompt.box is None else ((prompt.box.reshape(2, 2) - corner) * scale).reshape(4)
    return prompt_planes(colours, points[seen], prompt.labels[seen], newest, box, look.single, look.window.local)


def _previous(look: Look) -> Floats:
    """The mask so far in the window, float32 [1, rows, columns], -1 to 1; zeros if there is none."""
    if look.state is None:
        rows, columns = look.window.shape
        return np.zeros((1, rows // 2, columns // 2), np.float32)
    return previous_mask(look.state, look.window)[None]
