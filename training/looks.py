"""How images look: sprites that match where they are put, and what cameras do."""

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def harmonise(colours: Bytes, opacity: Bytes, canvas: Bytes, random: np.random.Generator) -> NDArray[np.float32]:
    """A sprite's colours [side, side, 3], now and then moved towards those that it hides."""
    mixed = colours.astype(np.float32)
    if random.random() < 0.35:
        seen = opacity[::2, ::2] > 127
        if seen.any():
            own, hidden = (each[::2, ::2][seen].mean(axis=0) for each in (colours, canvas))
            mixed += (hidden - own) * random.uniform(0.3, 1.0)
    if random.random() < 0.3:
        mixed *= random.uniform(0.6, 1.3)
        mixed += random.normal(0, 12, 3)
    return mixed.clip(0, 255)


def photograph(pixels: Bytes, random: np.random.Generator) -> Bytes:
    """The image with another exposure, colour, sharpness, noise or compression."""
    levels = np.linspace(0, 1, 256)[:, None]
    if random.random() < 0.7:
        gain = np.exp(random.normal(0, 0.15) + random.normal(0, 0.06, 3))
        curve = (levels ** np.exp(random.normal(0, 0.2))) * gain + random.normal(0, 0.04)
        pixels = np.take_along_axis((curve.clip(0, 1) * 255).astype(np.uint8), pixels.reshape(-1, 3), axis=0).reshape(
            pixels.shape
        )
    if random.random() < 0.25:
        gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[:, :, None].astype(np.float32)
        keep = 0.0 if random.random() < 0.3 else random.uniform(0.3, 1.6)
        pixels = (gray + (pixels - gray) * keep).clip(0, 255).astype(np.uint8)
    if random.random() < 0.12:
        pixels = cv2.GaussianBlur(pixels, (0, 0), random.uniform(0.4, 1.4)).astype(np.uint8, copy=False)
    if random.random() < 0.2:
        noise = random.normal(0, random.uniform(2, 14), (*pixels.shape[:2], 1)).astype(np.float32)
        pixels = (pixels + noise).clip(0, 255).astype(np.uint8)
    if random.random() < 0.12:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(25, 80))]
        decoded = cv2.imdecode(cv2.imencode(".jpg", pixels, quality)[1], cv2.IMREAD_COLOR)
        pixels = np.asarray(decoded, np.uint8)
    return pixels
