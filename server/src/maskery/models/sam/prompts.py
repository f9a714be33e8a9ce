"""Points and boxes as tokens.

In numpy and float32 whatever the network computes in: phases of many turns go into sines, and half precision would
lose them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from maskery.models.sam.weights import Weights
from maskery.segmentation import ObjectPrompt

Floats = NDArray[np.float32]

# What a token is: rows of the table of meanings.
_NEGATIVE, _POSITIVE, _TOP_LEFT, _BOTTOM_RIGHT, _NOT_A_POINT, _PADDING = range(6)

# Added to scores of attention: far below any, and exact in half precision's range.
_OUT_OF_SIGHT = -1e9


class PromptEncoder:
    """Tokens of a prompt, as the network was trained to read them.

    Args:
        weights: of the network.
        image_size: side of its square input, in pixels.
    """

    def __init__(self, weights: Weights, image_size: int) -> None:
        self._image_size = image_size
        self._frequencies = _frequencies(weights)
        meanings = [weights.array(f"prompt_encoder.point_embed.{index}.weight") for index in range(4)]
        meanings.append(weights.array("prompt_encoder.not_a_point_embed.weight"))
        self._meanings = np.concatenate([*meanings, np.zeros_like(meanings[0])])

    def encode(self, objects: Sequence[ObjectPrompt], scale: tuple[float, float], tokens: int) -> tuple[Floats, Floats]:
        """Tokens of several objects, filled up to one length with padding that nothing sees.

        Args:
            objects: with coordinates in pixels of the image.
            scale: of the network's input over the image, (x, y).
            tokens: per object; at least `token_count` of each.

        Returns:
            float32 [objects, tokens, channels], and float32 [objects, tokens] to add to scores of attention.
        """
        factor = np.array(scale, np.float32)
        places: Floats = np.zeros((len(objects), tokens, 2), np.float32)
        kinds = np.full((len(objects), tokens), _PADDING)
        for index, each in enumerate(objects):
            points = len(each.points)
            places[index, :points] = each.points * factor
            kinds[index, :points] = np.where(each.labels == 1, _POSITIVE, _NEGATIVE)
            if each.box is not None:
                places[index, points : points + 2] = each.box.reshape(2, 2) * factor
                kinds[index, points : points + 2] = _TOP_LEFT, _BOTTOM_RIGHT
            elif points:
                kinds[index, points] = _NOT_A_POINT
        has_place = kinds < _NOT_A_POINT
        where = _encode_places((places + np.float32(0.5)) / np.float32(self._image_size), self._frequencies)
        prompt = where * has_place[..., None] + self._meanings[kinds]
        return prompt.astype(np.float32), np.where(kinds == _PADDING, np.float32(_OUT_OF_SIGHT), np.float32(0))


def token_count(prompt: ObjectPrompt) -> int:
    """Tokens of one object: its points, and the corners of its box or the mark that there is none."""
    if prompt.box is not None:
        return len(prompt.points) + 2
    return len(prompt.points) + 1 if len(prompt.points) else 0


def grid_positions(weights: Weights, grid: int) -> Floats:
    """Positional encoding float32 [grid², channels] of the patches' centres."""
    centres = ((np.arange(grid) + 0.5) / grid).astype(np.float32)
    x, y = np.meshgrid(centres, centres)
    return _encode_places(np.stack([x.ravel(), y.ravel()], axis=1), _frequencies(weights))


def _frequencies(weights: Weights) -> Floats:
    """Random spatial frequencies [2, channels / 2] (Tancik et al., Fourier Features, NeurIPS 2020)."""
    return weights.array("shared_image_embedding.positional_embedding")


def _encode_places(places: Floats, frequencies: Floats) -> Floats:
    """Shares of the square, 0 to 1, [..., 2] to [..., channels]."""
    phase = np.float32(2 * np.pi) * ((2 * places - 1).astype(np.float32) @ frequencies)
    return np.concatenate([np.sin(phase), np.cos(phase)], axis=-1)
