"""How `maskery/nano` answers a prompt: a fold over its points, in the order in which they were made.

The state is a mask so far. Each step looks at a window around the object, then at a smaller one around the newest
point, and changes the mask inside these windows only. A fold is a generator that yields looks and is sent what the
network sees, so that the looks of several objects share a call of the network.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.models.builtin.nano_window import (
    LARGEST_LOGIT,
    Bytes,
    Floats,
    Window,
    around_object,
    around_point,
    as_clicked,
    cells,
    paste,
)
from maskery.segmentation import Candidates, Earlier, ObjectPrompt, Size

# A mask so far is kept in 8 bits: levels proportional to the root of a logit, which are finest where an outline is.
_LEVELS = 127
_LOGITS = np.arange(-128, 128, dtype=np.float32)
_LOGITS = np.roll(_LOGITS * np.abs(_LOGITS) * np.float32(LARGEST_LOGIT / _LEVELS**2), 128)

# Logits of a mask prompt, on the object and off it.
_GIVEN = 4.0

# Odds of the scores of a single point are multiplied by this. The judge expects more of kinds of things that it was not
# fitted on: with this factor, half of the held-out sources score higher than their IoU and half lower.
_CALIBRATION = 0.74

# Each of the first points is a step of its own. Further points are taken in groups of 2, 4, 8 and so on, so that 2,048
# points are 18 steps.
_SINGLE_STEPS = 8


@dataclass(frozen=True, eq=False)
class Prompt:
    """A prompt in pixels of an image's copy.

    Attributes:
        points: float32 [points, 2], (x, y).
        labels: uint8 [points], 1 on the object, 0 off it.
        box: float32 [4], (x0, y0, x1, y1), or None.
    """

    points: Floats
    labels: Bytes
    box: Floats | None

    def first(self, count: int) -> "Prompt":
        """The prompt with only its first points."""
        return Prompt(self.points[:count], self.labels[:count], self.box)


@dataclass(frozen=True, eq=False)
class Look:
    """What the network is asked.

    Attributes:
        window: in which it sees the image.
        prompt: points outside the window are not seen.
        state: float32 [rows, columns] of the copy, logits of the mask so far; None: there is none.
        single: the prompt is a single point, which may mean more than one thing.
    """

    window: Window
    prompt: Prompt
    state: Floats | None
    single: bool = False


#: Logits float32 [3, rows, columns] on a grid over the window, and scores [3].
Seen: TypeAlias = tuple[Floats, Floats]

Fold: TypeAlias = Generator[Look, Seen, Candidates]

# A mask so far, in steps of a logit.
_Levels: TypeAlias = NDArray[np.int8]


def fold(prompt: ObjectPrompt, size: Size, rows: int, columns: int, earlier: Earlier | None = None) -> Fold:
    """The candidates of an object.

    Args:
        prompt: in pixels of the image.
        size: of the image.
        rows, columns: of its copy.
        earlier: see `Model.decode`.
    """
    asked = _scaled(prompt, size, rows, columns)
    wanted = len(asked.points)
    if earlier and earlier.candidates.state:
        taken = int(earlier.candidates.state["points"])
        state = earlier.candidates.state["levels"].astype(np.int8, copy=False)
    else:
        taken = 1 if prompt.box is None and prompt.mask is None else 0
        answers, scores = yield from _begin(asked.first(taken), prompt.mask, rows, columns)
        state = answers[0]
        if taken == wanted:
            return _candidates(answers, scores, taken, state)
    while True:
        group = _next_group(taken)
        count = min(group, wanted)
        answer, score = yield from _step(asked.first(count), _logits(state))
        if count == group:
            taken, state = count, answer
        if count == wanted:
            # What follows a group that is not full begins before that group, so that it does not depend on how many
            # points were sent at a time.
            return _candidates([answer], np.array([score], np.float32), taken, state)


def propose(prompt: ObjectPrompt, size: Size, rows: int, columns: int) -> Fold:
    """The candidates of a single point after a first look; arguments as of `fold`, whose order they have."""
    answers, scores = yield from _first_look(_scaled(prompt, size, rows, columns), rows, columns)
    levels = [_levels(each) for each in answers]
    return _candidates(levels, scores, 1, levels[0])


def _begin(
    prompt: Prompt, mask: NDArray[np.bool_] | None, rows: int, columns: int
) -> Generator[Look, Seen, tuple[list[_Levels], Floats]]:
    """The candidates of a single point, best first, or the one of a box or a mask prompt, and their scores."""
    if mask is not None:
        share = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
        given, score = yield from _look_around(prompt, (2 * share - 1).astype(np.float32, copy=False) * _GIVEN)
        return [_levels(given)], np.array([score], np.float32)
    single = len(prompt.points) == 1
    candidates, scores = yield from _first_look(prompt, rows, columns)
    refined, score = yield from _look_around(prompt, candidates[0])
    if not single or _at_point(refined, prompt) > 0:
        # The mean of two predictions is better than either, and the first candidate stays the best.
        candidates[0], scores[0] = refined, (scores[0] + score) / 2
    levels = [_levels(each) for each in candidates]
    levels[0] = as_clicked(levels[0], prompt.points, prompt.labels)
    scores = np.minimum(scores, scores[0])
    return levels, scores * _CALIBRATION / (1 - scores + scores * _CALIBRATION) if single else scores


def _first_look(prompt: Prompt, rows: int, columns: int) -> Generator[Look, Seen, tuple[list[Floats], Floats]]:
    """What the whole image shows of a single point or a box: candidates, best first, and their scores."""
    whole = Window.whole(rows, columns)
    single = len(prompt.points) == 1
    found, scores = yield Look(whole, prompt, None, single)
    nothing = np.full((rows, columns), -LARGEST_LOGIT, np.float32)
    candidates = [paste(nothing, each, whole) for each in (found if single else found[:1])]
    scores = scores[: len(candidates)].copy()
    if not single:
        return candidates, scores
    # A candidate without the point, above all an empty one, scores 0.
    scores *= [_at_point(each, prompt) > 0 for each in candidates]
    order = np.argsort(-scores, kind="stable")
    return [candidates[index] for index in order], scores[order]


def _step(prompt: Prompt, state: Floats) -> Generator[Look, Seen, tuple[_Levels, float]]:
    """The mask and its score once the last of these points was made."""
    state, score = yield from _look_around(prompt, state)
    window = around_point(prompt.points[-1], _window(prompt, state), *state.shape)
    found, _ = yield Look(window, prompt, state)
    answer = _levels(paste(state, found[0], window))
    return as_clicked(answer, prompt.points, prompt.labels), score


def _look_around(prompt: Prompt, state: Floats) -> Generator[Look, Seen, tuple[Floats, float]]:
    """The mask after a look at the window around the object, and its score."""
    window = _window(prompt, state)
    found, scores = yield Look(window, prompt, state)
    return paste(state, found[0], window), float(scores[0])


def _window(prompt: Prompt, state: Floats) -> Window:
    return around_object(state, prompt.points[prompt.labels == 1], prompt.box)


def _next_group(taken: int) -> int:
    """The number of points after the next group, when so many were taken in whole groups."""
    return taken + 1 if taken < _SINGLE_STEPS else 2 * taken + 2 - _SINGLE_STEPS


def _scaled(prompt: ObjectPrompt, size: Size, rows: int, columns: int) -> Prompt:
    scale = np.array((columns / size.width, rows / size.height), np.float32)
    # The middle of the pixel.
    points = (np.floor(prompt.points) + np.float32(0.5)) * scale
    box = None if prompt.box is None else (prompt.box.reshape(2, 2) * scale).reshape(4)
    return Prompt(points.astype(np.float32, copy=False), prompt.labels, box)


def _at_point(logits: Floats, prompt: Prompt) -> float:
    """The logit at a single point."""
    [row], [column] = cells(prompt.points, *logits.shape)
    return float(logits[row, column])


def _levels(logits: Floats) -> _Levels:
    levels = np.sqrt(np.abs(logits) * np.float32(_LEVELS**2 / LARGEST_LOGIT))
    return np.rint(np.copysign(levels, logits)).astype(np.int8)


def _logits(levels: _Levels) -> Floats:
    return _LOGITS[levels.view(np.uint8)]


def _candidates(answers: Sequence[_Levels], scores: Floats, taken: int, state: _Levels) -> Candidates:
    rows, columns = state.shape
    kept = {"levels": state, "points": np.array(taken)}
    return Candidates(np.stack(answers), scores, (float(columns), float(rows)), kept, _LOGITS)
