"""Where pixels go: views of photos, and things put onto a canvas."""

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]


def view(box: tuple[float, float, float, float], side: int, angle: float = 0.0, mirror: bool = False) -> Floats:
    """The matrix [2, 3] that shows a box (x0, y0, x1, y1) of a photo on a square canvas, turned about its middle."""
    x0, y0, x1, y1 = box
    scale = np.diag((side / (x1 - x0), side / (y1 - y0)))
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array(((cosine, -sine), (sine, cosine)))
    flip = np.diag((-1.0 if mirror else 1.0, 1.0))
    linear = turn @ flip @ scale
    middle = np.array(((x0 + x1) / 2, (y0 + y1) / 2))
    return np.column_stack((linear, side / 2 - linear @ middle))


def warp(source: Bytes, matrix: Floats, side: int, reflect: bool = False) -> Bytes:
    """An image or mask on a canvas [side, side], smoothed where it shrinks; black or reflected beyond its edges."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 0.6:
        rows, columns = source.shape[:2]
        size = max(1, round(columns * scale * 1.1)), max(1, round(rows * scale * 1.1))
        smaller = cv2.resize(source, size, interpolation=cv2.INTER_AREA)
        source = smaller.reshape(size[1], size[0], *source.shape[2:]).astype(np.uint8, copy=False)
        matrix = matrix.copy()
        matrix[:, 0] *= columns / size[0]
        matrix[:, 1] *= rows / size[1]
    # OpenCV's pixel centres are whole numbers, ours are halves.
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    border = cv2.BORDER_REFLECT_101 if reflect else cv2.BORDER_CONSTANT
    warped = cv2.warpAffine(source, shifted, (side, side), flags=cv2.INTER_LINEAR, borderMode=border)
    return warped.astype(np.uint8, copy=False)
