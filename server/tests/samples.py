"""Small images with known objects, and helpers for responses."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

MODEL = "maskery/grabcut"


def squares(width: int = 96, height: int = 64) -> np.ndarray:
    """A red and a blue square on gray: around (20, 20) and around (70, 40)."""
    pixels = np.full((height, width, 3), 128, np.uint8)
    pixels[10:30, 10:30] = (240, 60, 60)
    pixels[28:52, 58:82] = (20, 40, 160)
    noise = np.random.default_rng(0).integers(-6, 7, pixels.shape)
    return (pixels + noise).clip(0, 255).astype(np.uint8)


def png(pixels: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def values_of(answer: dict[str, Any], index: int = 0) -> np.ndarray:
    """The categorical mask of a response as an array."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["data"][index]["b64_json"]))))
