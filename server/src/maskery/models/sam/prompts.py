"""The prompt encoder for points and boxes.

It computes in numpy and float32 whatever the network's precision: the arguments of the sines are large, and half
precision would lose their phase.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from maskery.models.sam.weights import Weights
from maskery.segmentation import ObjectPrompt

Floats = NDArray[np.float32]

# Kinds of tokens: rows of the table of embeddings.
_NEGATIVE, _POSITIVE, _TOP_LEFT, _BOTTOM_RIGHT, _NOT_A_POINT, _PADDING = range(6)

# Added to attention scores to mask a token: far below any score.
_MASKED = -1e9


class PromptEncoder:
    """Encodes points and boxes as tokens, as segment-anything's `PromptEncoder` does.

    Args:
        weights: of the network.
        image_size: side of its square input, in pixels.
    """

    def __init__(self, weights: Weights, image_size: int) -> None:
        self._image_size = image_size
        self._frequencies = _frequencies(weights)
        embeddings = [weights.array(f"prompt_encoder.point_embed.{index}.weight") for index in range(4)]
        embeddings.append(weights.array("prompt_encoder.not_a_point_embed.weight"))
        self._embeddings = np.concatenate([*embeddings, np.zeros_like(embeddings[0])])

    def encode(self, objects: Sequence[ObjectPrompt], scale: tuple[float, float], tokens: int) -> tuple[Floats, Floats]:
        """Encode several objects, padded to one number of tokens.

        Args:
            objects: with coordinates in pixels of the image.
            scale: of the network's input relative to the image, (x, y).
            tokens: number of tokens per object, at least `token_count` of each.

        Returns:
            The tokens float32 [objects, tokens, channels], and an attention mask float32 [objects, tokens] to add to
            the scores: 0, or a large negative number for padding.
        """
        factor = np.array(scale, np.float32)
        coords: Floats = np.zeros((len(objects), tokens, 2), np.float32)
        kinds = np.full((len(objects), tokens), _PADDING)
        for index, each in enumerate(objects):
            points = len(each.points)
            coords[index, :points] = each.points * factor
            kinds[index, :points] = np.where(each.labels == 1, _POSITIVE, _NEGATIVE)
            if each.box is not None:
                coords[index, points : points + 2] = each.box.reshape(2, 2) * factor
                kinds[index, points : points + 2] = _TOP_LEFT, _BOTTOM_RIGHT
            elif points:
                kinds[index, points] = _NOT_A_POINT
        # A pixel's centre lies at +0.5.
        pe = _positional_encoding((coords + np.float32(0.5)) / np.float32(self._image_size), self._frequencies)
        has_position = kinds < _NOT_A_POINT
        prompt = pe * has_position[..., None] + self._embeddings[kinds]
        return prompt.astype(np.float32), np.where(kinds == _PADDING, np.float32(_MASKED), np.float32(0))


def token_count(prompt: ObjectPrompt) -> int:
    """Number of tokens of one object: its points, and the corners of its box or the token for no box."""
    if prompt.box is not None:
        return len(prompt.points) + 2
    return len(prompt.points) + 1 if len(prompt.points) else 0


def dense_positional_encoding(weights: Weights, grid: int) -> Floats:
    """Positional encoding float32 [grid², channels] of the patches' centres."""
    centres = ((np.arange(grid) + 0.5) / grid).astype(np.float32)
    x, y = np.meshgrid(centres, centres)
    return _positional_encoding(np.stack([x.ravel(), y.ravel()], axis=1), _frequencies(weights))


def _frequencies(weights: Weights) -> Floats:
    """Random spatial frequencies [2, channels / 2] (Tancik et al., Fourier Features, NeurIPS 2020)."""
    return weights.array("shared_image_embedding.positional_embedding")


def _positional_encoding(coords: Floats, frequencies: Floats) -> Floats:
    """Encode coordinates from 0 to 1, [..., 2] to [..., channels]."""
    phase = np.float32(2 * np.pi) * ((2 * coords - 1).astype(np.float32) @ frequencies)
    return np.concatenate([np.sin(phase), np.cos(phase)], axis=-1)
