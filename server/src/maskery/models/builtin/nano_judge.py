"""Predicts the IoU of the candidates of `maskery/nano` from what each of them encloses.

A twin of `training/judge.py`, which explains and trains it: both change together only. It runs beside the network's
graph because its many small steps take a runtime longer than NumPy.
"""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

#: Outputs of the graph that it reads.
FEATURES = ("edges", "near", "far", "fine", "coarse", "deep")

# Of the planes of a prompt, those that say what looks like a click and what is near one.
_TELLING = (2, 4)

_FEW = np.float32(1e-3)


class Judge:
    """Scores candidates. Thread-safe.

    Args:
        path: an archive of NumPy with the weights.
    """

    def __init__(self, path: Path) -> None:
        with np.load(path) as arrays:
            self._weights: dict[str, Floats] = dict(arrays)

    def __call__(self, logits: Floats, prompt: Floats, features: Mapping[str, Floats]) -> Floats:
        """Scores float32 [3].

        Args:
            logits: float32 [3, 2 rows, 2 columns].
            prompt: planes float32 [10, rows, columns], see `nano_prompt.prompt_planes`.
            features: by name of `FEATURES`; "edges" float32 [2 rows, 2 columns], others [channels, rows, columns] with
                half the rows and columns for "far" and "coarse", and a quarter for "deep".
        """
        weights = self._weights
        seen = (evidence(logits, prompt, features) - weights["middle"]) / weights["spread"]
        # Members of an ensemble come first, then candidates.
        x = seen.clip(-4, 4) @ weights["alone.weight"].transpose(0, 2, 1) + weights["alone.bias"][:, None]
        x = np.maximum(x + weights["which"], 0).reshape(len(x), -1, 1)
        x = np.maximum(weights["together.0.weight"] @ x + weights["together.0.bias"][:, :, None], 0)
        x = weights["together.2.weight"] @ x + weights["together.2.bias"][:, :, None]
        return _sigmoid(x.mean(axis=0)[:, 0])


def evidence(logits: Floats, prompt: Floats, features: Mapping[str, Floats]) -> Floats:
    """What speaks for and against each candidate, float32 [3, 52]; see `Judge.__call__`."""
    inside = _sigmoid(logits)
    inside4 = _halved(inside)
    inside8 = _halved(inside4)
    inside16 = _halved(inside8)
    around4, around8 = _around(inside4, 7), _around(inside8, 5)
    click4 = prompt[:1]
    click8 = _halved(click4)
    sure4 = (inside4 > 0.5).astype(np.uint8)
    border4 = (sure4 - _eroded(sure4, 3)).astype(np.float32)
    telling = prompt[list(_TELLING)]
    near, fine, told, clicked = _means(
        (inside4, around4, border4, click4), (features["near"], features["fine"], telling, _halved(logits))
    )
    far, coarse = _means((inside8, around8, click8), (features["far"], features["coarse"]))
    [deep] = _means((inside16, 1 - inside16, _halved(click8)), (features["deep"],))
    found = [_clues(logits, inside, prompt)]
    for directions in ((near[:3], near[3:6], near[9:]), (far[:3], far[3:6], far[6:])):
        one, other, click = directions
        pairs = (one * other).sum(1), (one * click).sum(1), (other * click).sum(1)
        found.append(np.stack([*pairs, _norm(one), _norm(other)], 1))
    found += [told[:3], told[3:6], told[6:9], np.broadcast_to(telling.mean((1, 2)), (3, 2))]
    found += [
        _unlike(coarse[:3], coarse[3:6]),
        _unlike(coarse[:3], coarse[6:]),
        _unlike(coarse[3:6], coarse[6:]),
        _unlike(fine[:3], fine[3:6]),
        _unlike(fine[:3], fine[6:9]),
        _unlike(deep[:3], deep[3:6]),
        _unlike(deep[:3], deep[6:]),
        _outline(logits, inside, features["edges"], clicked[9]),
    ]
    return np.concatenate(found, 1)


def _clues(logits: Floats, inside: Floats, prompt: Floats) -> Floats:
    """How sure a candidate is, how little its area depends on the threshold, how large it is, how far it agrees with
    the other two, how much of the image's border it covers, whether the prompt is a single point; [3, 7].
    """
    sure = logits > 0
    area = sure.sum((1, 2), dtype=np.float32)
    certain = (inside * sure).sum((1, 2))
    expected = certain / np.maximum(area + inside.sum((1, 2)) - certain, 1)
    stable = (logits > 1).sum((1, 2)) / np.maximum((logits > -1).sum((1, 2)), 1)
    share = np.log(sure.mean((1, 2), dtype=np.float32) + _FEW)
    shared = _shared(sure)
    agreed = [
        _pairs(shared, other) / np.maximum(area + np.roll(area, -other) - _pairs(shared, other), 1) for other in (1, 2)
    ]
    border = np.concatenate([sure[:, 0], sure[:, -1], sure[:, :, 0], sure[:, :, -1]], 1).mean(1, dtype=np.float32)
    single = np.full(3, prompt[7, 0, 0])
    return np.stack([_odds(expected), _odds(stable), share, *agreed, border, single], 1).astype(np.float32)


def _outline(logits: Floats, inside: Floats, edges: Floats, at_click: Floats) -> Floats:
    """Edges of the image under the border, the candidate's form, which candidate holds which; [3, 13]."""
    widened = cv2.dilate(edges, np.ones((3, 3), np.uint8))
    sure = (logits > 0).astype(np.uint8)
    border = sure - _eroded(sure, 3)
    area, length = (each.sum((1, 2), dtype=np.float32) + 1 for each in (sure, border))
    contrast = [
        (border * widened).sum((1, 2)) / length,
        (sure * widened).sum((1, 2)) / area,
        np.full(3, widened.mean()),
    ]
    thick = _eroded(sure, 5)
    thicker = _eroded(thick, 9)
    forms = [length / np.sqrt(area) / 4, *(each.sum((1, 2), dtype=np.float32) / area for each in (thick, thicker))]
    shared = _shared(sure > 0)
    holds = []
    for other in (1, 2):
        both = _pairs(shared, other)
        holds += [both / area, both / np.roll(area, -other)]
    unsure = (inside * (1 - inside)).mean((1, 2)) * 20
    sides = [np.tanh(at_click / 4), unsure, logits.max((1, 2)) / 8]
    found = np.stack([*(np.log(each + _FEW) for each in contrast), *forms, *holds, *sides], 1)
    return found.astype(np.float32)


def _means(places: tuple[Floats, ...], values: tuple[Floats, ...]) -> list[Floats]:
    """Means [all places, channels] of each of the values [channels, rows, columns] over the places, likewise."""
    flat = np.concatenate(places).reshape(sum(map(len, places)), -1)
    flat /= flat.sum(axis=1, keepdims=True) + _FEW
    # Not `@`, whose threads would compete with those of the network.
    return [np.einsum("ij,kj->ik", flat, each.reshape(len(each), -1)) for each in values]


def _unlike(one: Floats, other: Floats) -> Floats:
    """Cosine, and distance in shares of their lengths, [3, 2]."""
    lengths = _norm(one), _norm(other)
    cosine = (one * other).sum(1) / (lengths[0] * lengths[1] + _FEW)
    found: Floats = np.stack([cosine, _norm(one - other) / (lengths[0] + lengths[1] + _FEW)], 1)
    return found


def _shared(sure: NDArray[np.bool_]) -> Floats:
    """Pixels that two candidates share, [3, 3]."""
    flat = sure.reshape(3, -1)
    return np.array([[np.count_nonzero(one & other) for other in flat] for one in flat], np.float32)


def _pairs(shared: Floats, other: int) -> Floats:
    """Of each candidate with the one so many further on, [3]."""
    return shared[np.arange(3), (np.arange(3) + other) % 3]


def _around(inside: Floats, reach: int) -> Floats:
    """What lies outside, within `reach` // 2 cells."""
    sure = (inside > 0.5).astype(np.uint8)
    kernel = np.ones((reach, reach), np.uint8)
    return np.stack([cv2.dilate(each, kernel) - each for each in sure]).astype(np.float32)


def _eroded(sure: Bytes, reach: int) -> Bytes:
    """What lies deeper inside than `reach` // 2 cells; beyond the image counts as inside."""
    kernel = np.ones((reach, reach), np.uint8)
    return np.stack([cv2.erode(each, kernel) for each in sure]).astype(np.uint8, copy=False)


def _halved(values: Floats) -> Floats:
    """Means of two by two cells of [channels, rows, columns]."""
    rows = values[:, ::2] + values[:, 1::2]
    return (rows[:, :, ::2] + rows[:, :, 1::2]) * np.float32(0.25)


def _norm(values: Floats) -> Floats:
    lengths: Floats = np.sqrt(np.square(values).sum(1))
    return lengths


def _odds(share: Floats) -> Floats:
    bounded = np.clip(share, 0.01, 0.99)
    odds: Floats = np.log(bounded / (1 - bounded))
    return odds


def _sigmoid(values: Floats) -> Floats:
    shares: Floats = np.reciprocal(1 + np.exp(-values))
    return shares
