"""Photographs to send: JPEG, two megapixels, all different."""

from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT = 1728, 1152

_PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
_QUALITY = 92
# Sensor noise in grey levels: it keeps the file of an enlarged photograph as large as that of one taken at this size.
_NOISE = 7.0


def write(folder: Path, count: int) -> list[Path]:
    """Write `count` files; the same in every run."""
    photos = [_read(path) for path in sorted(_PHOTOS.glob("*.png"))]
    files = []
    for number in range(count):
        file = folder / f"{number:03}.jpg"
        pixels = _variant(photos[number % len(photos)], np.random.default_rng(number))
        if not cv2.imwrite(str(file), pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]):
            raise OSError(f"{file} cannot be written")
        files.append(file)
    return files


def _read(path: Path) -> cv2.typing.MatLike:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise OSError(f"{path} cannot be read")
    return pixels


def _variant(photo: cv2.typing.MatLike, random: np.random.Generator) -> cv2.typing.MatLike:
    """Another part of the photograph, perhaps mirrored, a little brighter or darker, with noise."""
    height, width = photo.shape[:2]
    share = random.uniform(0.7, 1.0) * min(width / WIDTH, height / HEIGHT)
    columns, rows = int(WIDTH * share), int(HEIGHT * share)
    left, top = random.integers(0, width - columns + 1), random.integers(0, height - rows + 1)
    part = photo[top : top + rows, left : left + columns]
    if random.random() < 0.5:
        part = part[:, ::-1]
    large = cv2.resize(part, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    large = large * random.uniform(0.85, 1.15) + _NOISE * random.standard_normal(large.shape, np.float32)
    return large.clip(0, 255).astype(np.uint8)
