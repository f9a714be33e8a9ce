"""Answers of the network as a fold over clicks, in the order in which they were made.

A state is a mask so far. Every click is one step: a look at a window around the object, then one at a smaller window
around the click, each of which may change the mask inside its window only. A single click, or a box before its clicks,
begins with a look at the whole image. The same clicks give the same state, whatever was kept of earlier ones.

The server does the same in `maskery.models.builtin.nano_fold`, with states in 8 bits and with many clicks in groups.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.judge import evidence
from training.planes import opponent, prompt_planes
from training.weights import load

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

#: Rows and columns that the network sees; a window is stretched to the nearest in proportion.
SHAPES = ((192, 320), (224, 288), (256, 256), (288, 224), (320, 192))

#: Of windows with few pixels, and of those around a click.
SMALL_SHAPES = ((128, 192), (160, 160), (192, 128))
FEW_PIXELS = 192 * 192
LOCAL_SHAPES = ((160, 160),)

#: Odds of the score of a single click are multiplied by this, see `maskery.models.builtin.nano_fold`.
CALIBRATION = 0.74

Click = tuple[float, float, int]
Window = tuple[float, float, float, float]


@dataclass(frozen=True)
class Settings:
    """What a step does.

    Attributes:
        longest: side of the copy of the image that windows are cut from, and of the grid of states, at most.
        margin: around an object, in roots of its box's area.
        whole: share of the image from which an object's window is the whole image.
        local: side of the window around a click, in roots of the area of the object's window; 0: no such look.
        least: side of that window in pixels of the copy.
        mirror_first: the first look at a single click sees the mirror image too, and the mean counts.
        mirror: so do all other looks.
    """

    longest: int = 768
    margin: float = 0.3
    whole: float = 0.9
    local: float = 0.45
    least: float = 72.0
    mirror_first: bool = False
    mirror: bool = False


class Prompt(NamedTuple):
    """What has been asked so far: clicks (x, y, 1 on the object or 0 off it) and a box, in pixels of the image."""

    clicks: tuple[Click, ...] = ()
    box: Window | None = None


@dataclass(frozen=True, eq=False)
class Encoded:
    """An image.

    Attributes:
        pixels: uint8 [rows, columns, 3], the copy.
        scale: pixels of the copy per pixel of the image, across and down.
        features: of the whole image.
        colours: see `opponent`.
    """

    pixels: Bytes
    scale: tuple[float, float]
    features: tuple[Tensor, ...]
    colours: Tensor


@dataclass(frozen=True, eq=False)
class State:
    """An answer.

    Attributes:
        logits: float32 [rows, columns], on the grid of the copy.
        score: expected IoU.
        candidates: of a single click, best first, logits likewise; else only this one.
    """

    logits: Floats
    score: float
    candidates: tuple[Floats, ...] = ()


class Folder:
    """Answers prompts.

    Args:
        path: weights that `training.train` wrote.
        settings: see there.
        bf16: compute as processors with bf16 do.
    """

    def __init__(self, path: Path, settings: Settings | None = None, bf16: bool = False) -> None:
        network, judge = load(path)
        self.network = network.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.judge = judge.requires_grad_(False)
        self.settings = settings or Settings()
        self._bf16 = bf16
        #: Evidence of the newest look, [3, EVIDENCE] for each view.
        self.seen: list[Tensor] = []

    def encode(self, image: Bytes) -> Encoded:
        """Image uint8 [rows, columns, 3], RGB."""
        shrink = min(1.0, self.settings.longest / max(image.shape[:2]))
        rows, columns = (max(1, round(each * shrink)) for each in image.shape[:2])
        pixels = image if shrink == 1 else _resized(image, rows, columns)
        scale = (columns / image.shape[1], rows / image.shape[0])
        features, colours = self._see(pixels, _shape(pixels.shape[0], pixels.shape[1]))
        return Encoded(pixels, scale, features, colours)

    def answer(self, image: Encoded, prompt: Prompt) -> State:
        """The fold over all clicks of a prompt."""
        begun = 0 if prompt.box else 1
        state = self.begin(image, replace_clicks(prompt, begun))
        for count in range(begun + 1, len(prompt.clicks) + 1):
            state = self.step(image, replace_clicks(prompt, count), state)
        return state

    def begin(self, image: Encoded, prompt: Prompt) -> State:
        """The answer to a box, or to a single click."""
        asked = scaled(prompt, image.scale)
        single = not asked.box
        rows, columns = image.pixels.shape[:2]
        whole = (0.0, 0.0, float(columns), float(rows))
        logits, scores = self.look(image, whole, asked, None, single, False)
        candidates = [put(np.full((rows, columns), -8, np.float32), each, whole) for each in logits]
        order = np.array([0])
        if single:
            # A candidate without the click scores 0.
            scores = scores * np.array([each[_cell(asked.clicks[0], each)] > 0 for each in candidates])
            order = np.argsort(-scores, kind="stable")
        candidates = [candidates[index] for index in order]
        state = State(candidates[0], float(scores[order[0]]))
        second = self._around(image, asked, state)
        if single and second.logits[_cell(asked.clicks[0], second.logits)] <= 0:
            second = state
        answer = _as_clicked(second.logits, asked)
        score = (state.score + second.score) / 2
        if single:
            score *= CALIBRATION / (1 - score + score * CALIBRATION)
        return State(answer, score, (answer, *candidates[1:]))

    def step(self, image: Encoded, prompt: Prompt, state: State) -> State:
        """The answer once the newest click was made."""
        asked = scaled(prompt, image.scale)
        found = self._around(image, asked, state)
        if self.settings.local:
            found = self._close(image, asked, found)
        return State(_as_clicked(found.logits, asked), found.score, (found.logits,))

    def _around(self, image: Encoded, prompt: Prompt, state: State) -> State:
        window = self.window(image, prompt, state.logits)
        logits, scores = self.look(image, window, prompt, state.logits, False, False)
        return State(put(state.logits, logits[0], window), float(scores[0]))

    def _close(self, image: Encoded, prompt: Prompt, state: State) -> State:
        x0, y0, x1, y1 = self.window(image, prompt, state.logits)
        rows, columns = state.logits.shape
        side = max(self.settings.local * ((x1 - x0) * (y1 - y0)) ** 0.5, self.settings.least)
        width, height = min(side, columns), min(side, rows)
        x, y, _ = prompt.clicks[-1]
        left, top = min(max(0.0, x - width / 2), columns - width), min(max(0.0, y - height / 2), rows - height)
        window = (left, top, left + width, top + height)
        logits, _ = self.look(image, window, prompt, state.logits, False, True)
        return replace(state, logits=put(state.logits, logits[0], window))

    def window(self, image: Encoded, prompt: Prompt, logits: Floats) -> Window:
        """The window around an answer and what was asked."""
        rows, columns = logits.shape
        shown = logits > 0
        lines, across = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
        whole = (0.0, 0.0, float(columns), float(rows))
        if not len(lines):
            return whole
        corners = [(across[0], lines[0]), (across[-1] + 1, lines[-1] + 1)]
        corners += [(x, y) for x, y, label in prompt.clicks if label == 1]
        corners += [prompt.box[:2], prompt.box[2:]] if prompt.box else []
        (x0, y0), (x1, y1) = np.min(corners, 0).tolist(), np.max(corners, 0).tolist()
        margin = 2 * self.settings.margin * max(1.0, (x1 - x0) * (y1 - y0)) ** 0.5
        width, height = x1 - x0 + margin, y1 - y0 + margin
        width, height = max(width, height / 1.6, self.settings.least), max(height, width / 1.6, self.settings.least)
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        found = (
            max(0.0, x - width / 2),
            max(0.0, y - height / 2),
            min(columns, x + width / 2),
            min(rows, y + height / 2),
        )
        if (found[2] - found[0]) * (found[3] - found[1]) > self.settings.whole * rows * columns:
            return whole
        return found

    def look(
        self, image: Encoded, window: Window, prompt: Prompt, state: Floats | None, single: bool, local: bool
    ) -> tuple[Floats, Floats]:
        """Logits [3, rows, columns] on a grid over the window, and scores [3]."""
        x0, y0, x1, y1 = window
        whole = not local and window == (0, 0, image.pixels.shape[1], image.pixels.shape[0])
        if whole:
            features, colours = image.features, image.colours
        else:
            left, top, right, bottom = int(x0), int(y0), int(np.ceil(x1)), int(np.ceil(y1))
            part = image.pixels[top:bottom, left:right]
            features, colours = self._see(part, _shape(*part.shape[:2], local))
            x0, y0, x1, y1 = left, top, right, bottom
        rows, columns = colours.shape[2:]
        scale = np.array((columns / (x1 - x0), rows / (y1 - y0)), np.float32)
        clicks = np.array(prompt.clicks, np.float32).reshape(-1, 3)
        points = (clicks[:, :2] - (x0, y0)) * scale
        seen = ((points > 0) & (points < (columns, rows))).all(1)
        labels = np.where(seen, clicks[:, 2], -1).astype(np.int64)
        if not len(points):
            points, labels = np.zeros((1, 2), np.float32), np.array([-1])
        box = np.zeros(4, np.float32)
        if prompt.box:
            box = ((np.array(prompt.box, np.float32).reshape(2, 2) - (x0, y0)) * scale).reshape(4)
        planes = prompt_planes(
            colours, torch.from_numpy(points.astype(np.float32))[None], torch.from_numpy(labels)[None],
            torch.tensor([len(clicks) - 1]), torch.from_numpy(box.astype(np.float32))[None],
            torch.tensor([prompt.box is not None]), torch.tensor([single]), torch.tensor([local]),
        )  # fmt: skip
        previous = torch.zeros(1, 1, 2 * rows, 2 * columns)
        if state is not None:
            begun = _resized_logits(
                state[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))], 2 * rows, 2 * columns
            )
            previous = torch.from_numpy(np.tanh(begun / 2))[None, None]
        seen_by = [(features, planes, previous)]
        if self.settings.mirror or (single and self.settings.mirror_first):
            turned = self._mirrored((x0, y0, x1, y1), image, 4 * rows, 4 * columns)
            seen_by.append((turned, planes.flip(3), previous.flip(3)))
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            looks = [self.network.decoder(*kept, prompt_seen, begun) for kept, prompt_seen, begun in seen_by]
        # Both views count the same; each is judged by what it shows.
        logits = looks[0].logits if len(looks) == 1 else (looks[0].logits + looks[1].logits.flip(3)) / 2
        scores = []
        self.seen = []
        for view, (look, (kept, shown, _)) in enumerate(zip(looks, seen_by, strict=True)):
            judged = look._replace(logits=logits.flip(3) if view else logits)
            found = evidence(self.network.decoder, judged, kept, shown)  # type: ignore[arg-type]
            self.seen.append(found[0])
            scores.append(torch.sigmoid(self.judge(found)))
        return logits[0].numpy(), torch.stack(scores).mean(0)[0].numpy()

    def _mirrored(self, window: Window, image: Encoded, rows: int, columns: int) -> tuple[Tensor, ...]:
        x0, y0, x1, y1 = (int(edge) for edge in window)
        return self._see(np.ascontiguousarray(image.pixels[y0:y1, x0:x1][:, ::-1]), (rows, columns))[0]

    def _see(self, pixels: Bytes, shape: tuple[int, int]) -> tuple[tuple[Tensor, ...], Tensor]:
        shown = torch.from_numpy(_resized(pixels, *shape)).permute(2, 0, 1)[None].float()
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            features = self.network.encoder((shown / 127.5 - 1).contiguous(memory_format=torch.channels_last))
        return features, opponent(shown)


def replace_clicks(prompt: Prompt, count: int) -> Prompt:
    """The prompt when so many clicks had been made."""
    return prompt._replace(clicks=prompt.clicks[:count])


def scaled(prompt: Prompt, scale: tuple[float, float]) -> Prompt:
    """The prompt in pixels of a copy with so many pixels, across and down, for each of the image's."""
    across, down = scale
    clicks = tuple((x * across, y * down, label) for x, y, label in prompt.clicks)
    if not prompt.box:
        return Prompt(clicks)
    x0, y0, x1, y1 = prompt.box
    return Prompt(clicks, (x0 * across, y0 * down, x1 * across, y1 * down))


def _shape(rows: int, columns: int, local: bool = False) -> tuple[int, int]:
    shapes = LOCAL_SHAPES if local else SMALL_SHAPES if rows * columns <= FEW_PIXELS else SHAPES
    return min(shapes, key=lambda shape: abs(np.log(shape[0] / shape[1]) - np.log(rows / columns)))


def _resized(pixels: Bytes, rows: int, columns: int) -> Bytes:
    grows = rows * columns > pixels.shape[0] * pixels.shape[1]
    how = cv2.INTER_LINEAR if grows else cv2.INTER_AREA
    return cv2.resize(pixels, (columns, rows), interpolation=how).astype(np.uint8, copy=False)


def _resized_logits(logits: Floats, rows: int, columns: int) -> Floats:
    grows = rows * columns > logits.size
    how = cv2.INTER_LINEAR if grows else cv2.INTER_AREA
    return cv2.resize(logits, (columns, rows), interpolation=how).astype(np.float32, copy=False)


def put(state: Floats, logits: Floats, window: Window) -> Floats:
    """The state with an answer in a window of it."""
    x0, y0, x1, y1 = int(window[0]), int(window[1]), int(np.ceil(window[2])), int(np.ceil(window[3]))
    changed = state.copy()
    changed[y0:y1, x0:x1] = cv2.resize(logits, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR).clip(-8, 8)
    return changed


def _cell(click: Click, logits: Floats) -> tuple[int, int]:
    rows, columns = logits.shape
    return min(rows - 1, int(click[1])), min(columns - 1, int(click[0]))


def _as_clicked(logits: Floats, prompt: Prompt) -> Floats:
    """Every clicked pixel as it was clicked."""
    kept = logits
    for click in prompt.clicks:
        cell = _cell(click, logits)
        if (logits[cell] > 0) != (click[2] == 1):
            if kept is logits:
                kept = logits.copy()
            kept[cell] = 0.5 if click[2] == 1 else -0.5
    return kept
