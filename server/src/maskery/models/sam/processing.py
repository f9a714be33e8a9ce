"""Prepares images for SAM, as transformers' `SamImageProcessor` and `SamHQImageProcessor` do."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from maskery.models.sam.config import UnsupportedModel
from maskery.segmentation import Image, Size

_BILINEAR = 2


@dataclass(frozen=True)
class Processor:
    """Scales an image into a square and normalizes it.

    Attributes:
        side: of the square, in pixels. The image's longer side is scaled to it, the rest is padded with zeros.
        mean, std: per channel, of values from 0 to 1.
        factor: from 8-bit values to values from 0 to 1.
    """

    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    factor: float = 1 / 255

    @classmethod
    def read(cls, folder: Path, side: int) -> "Processor":
        """Read `preprocessor_config.json`, or `processor_config.json`, which transformers 5 writes.

        Raises:
            UnsupportedModel: it asks for a step that is not supported.
        """
        fields = _read_fields(folder)
        size = fields.get("size", {})
        if not isinstance(size, dict):
            raise UnsupportedModel(f"the preprocessor's size is {size!r}, not an object with longest_edge")
        longest = size.get("longest_edge", side)
        if longest != side:
            raise UnsupportedModel(f"images are scaled to {longest} pixels, but the network takes {side}")
        if fields.get("resample", _BILINEAR) != _BILINEAR:
            raise UnsupportedModel(
                f"images are resampled by method {fields['resample']}; only 2, bilinear, is supported"
            )
        for step in ("do_resize", "do_rescale", "do_normalize", "do_pad"):
            if not fields.get(step, True):
                raise UnsupportedModel(f"the preprocessor disables a step: {step} is false")
        mean, std = (_three_numbers(fields, name) for name in ("image_mean", "image_std"))
        factor = fields.get("rescale_factor", 1 / 255)
        if type(factor) not in (int, float) or 0 in (*std, factor):
            raise UnsupportedModel("the preprocessor's rescale_factor and image_std must be numbers other than 0")
        return cls(side, mean, std, float(factor))

    def fit(self, size: Size) -> Size:
        """Size of the scaled image."""
        scale = self.side / max(size)
        # At least one pixel a side.
        return Size(max(1, int(size.width * scale + 0.5)), max(1, int(size.height * scale + 0.5)))

    def pixel_values(self, image: Image) -> NDArray[np.float32]:
        """The network's input float32 [1, 3, side, side]."""
        size = self.fit(image.size)
        scaled = np.asarray(PILImage.fromarray(image.pixels).resize(size, PILImage.Resampling.BILINEAR))
        values = np.zeros((1, 3, self.side, self.side), np.float32)
        steps = np.arange(256, dtype=np.float32) * np.float32(self.factor)
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            table = (steps - np.float32(mean)) / np.float32(std)
            values[0, channel, : size.height, : size.width] = table[scaled[:, :, channel]]
        return values


def _three_numbers(fields: dict[str, Any], name: str) -> tuple[float, ...]:
    values = fields.get(name)
    if not isinstance(values, list) or len(values) != 3 or not all(type(value) in (int, float) for value in values):
        raise UnsupportedModel(f"the preprocessor's {name} is {values!r}, not three numbers")
    return tuple(map(float, values))


def _read_fields(folder: Path) -> dict[str, Any]:
    for name in ("preprocessor_config.json", "processor_config.json"):
        file = folder / name
        if file.is_file():
            try:
                fields = json.loads(file.read_bytes())
            except (ValueError, RecursionError):
                raise UnsupportedModel(f"{name} is not JSON") from None
            inner = fields.get("image_processor", fields) if isinstance(fields, dict) else None
            if not isinstance(inner, dict):
                raise UnsupportedModel(f"{name} does not describe a preprocessor")
            return inner
    raise UnsupportedModel("there is neither preprocessor_config.json nor processor_config.json")
