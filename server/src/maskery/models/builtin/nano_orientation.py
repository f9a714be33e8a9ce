"""The orientation in which `maskery/nano` sees an image, so that a mirrored or turned image gets the same answer."""

from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.models.builtin.nano_window import Bytes
from maskery.segmentation import ObjectPrompt, Size

Value = TypeVar("Value", np.float32, np.int8)


class Orientation(NamedTuple):
    """Rows and columns are exchanged first, then either is reversed."""

    exchanged: bool
    upside_down: bool
    mirrored: bool

    @classmethod
    def of(cls, pixels: Bytes) -> "Orientation":
        """The orientation of an image, uint8 [rows, columns, 3], in which its brightness changes most from top to
        bottom, is higher at the top, as in most photos, and higher at the right.

        It is computed in integers, so that each of the eight orientations of an image leads to the same one.
        """
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        down, across = (_moment(cv2.reduce(grey, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S)) for axis in (1, 0))
        # Per pixel: moments of one side grow with its square, and with the other side.
        exchanged = abs(across) * grey.shape[0] > abs(down) * grey.shape[1]
        if exchanged:
            down, across = across, down
        return cls(exchanged, down > 0, across < 0)

    def apply(self, values: Bytes) -> Bytes:
        """An array uint8 [rows, columns, ...] of the image, in this orientation."""
        # By OpenCV: NumPy copies a transposed image several times as slowly.
        turned = cv2.transpose(values) if self.exchanged else values
        if self.upside_down or self.mirrored:
            turned = cv2.flip(turned, -1 if self.upside_down and self.mirrored else int(self.mirrored))
        return turned.astype(np.uint8, copy=False)

    def undo(self, values: NDArray[Value]) -> NDArray[Value]:
        """An array [..., rows, columns] in this orientation, as the image lies."""
        turned = values[..., ::-1] if self.mirrored else values
        turned = turned[..., ::-1, :] if self.upside_down else turned
        return np.ascontiguousarray(turned.swapaxes(-1, -2) if self.exchanged else turned)

    def size(self, size: Size) -> Size:
        return Size(size.height, size.width) if self.exchanged else size

    def prompt(self, prompt: ObjectPrompt, size: Size) -> ObjectPrompt:
        """A prompt on an image of a size, in this orientation. Points are moved to the middles of their pixels."""
        box = None
        if prompt.box is not None:
            corners = self._points(prompt.box.reshape(2, 2), size)
            box = np.concatenate((corners.min(axis=0), corners.max(axis=0)))
        mask = None if prompt.mask is None else self.apply(prompt.mask.view(np.uint8)).view(np.bool_)
        return replace(prompt, points=self._points(np.floor(prompt.points) + np.float32(0.5), size), box=box, mask=mask)

    def _points(self, points: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
        width, height = self.size(size)
        turned = points[:, ::-1].copy() if self.exchanged else points.copy()
        if self.mirrored:
            turned[:, 0] = width - turned[:, 0]
        if self.upside_down:
            turned[:, 1] = height - turned[:, 1]
        return turned


def _moment(sums: NDArray[Any]) -> int:
    """First moment about the middle, in half pixels."""
    flat = sums.reshape(-1).astype(np.int64)
    return int((flat * (2 * np.arange(len(flat)) + 1 - len(flat))).sum())
