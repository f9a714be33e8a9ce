"""Scales 16-bit pixels to 8 bits. Cameras and scanners of 10, 12 or 14 bits leave the highest bits of 16 unused."""

import re
import sys
from typing import Any

import numpy as np
from PIL import Image as PILImage
from PIL import ImageFile

# How Pillow decodes 16 bits a channel, of which it keeps the high byte. B, L and N: big-endian, little-endian, native.
_SIXTEEN_BITS = re.compile(r"(RGB|RGBX|RGBA);16([BLN])")
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def scale_gray(image: PILImage.Image) -> PILImage.Image:
    """A 16-bit gray image in 8 bits: of the bits that its largest value uses, the 8 highest."""
    gray = np.asarray(image).astype(np.uint16)
    unused = max(0, int(gray.max()).bit_length() - 8)
    return PILImage.fromarray((gray >> unused).astype(np.uint8))


def low_byte_tiles(image: ImageFile.ImageFile) -> list[ImageFile._Tile]:
    """The tiles of a file that has not been decoded, with which Pillow decodes the low byte of each channel.

    Empty unless the file has 16 bits a channel and is in colour.
    """
    tiles = []
    for tile in image.tile:
        args = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        found = _SIXTEEN_BITS.fullmatch(str(args[0])) if args else None
        if found is None:
            return []
        tiles.append(tile._replace(args=(f"{found[1]};16{_OTHER_ORDER[found[2]]}", *args[1:])))
    return tiles


def uses_all_bits(high: PILImage.Image) -> bool:
    """Whether the highest bit of a colour is set, where `high` has the high byte of each channel."""
    extrema: Any = high.getextrema()
    return any(maximum >= 128 for _, maximum in extrema[:3])


def scale_colour(high: PILImage.Image, low: PILImage.Image) -> PILImage.Image:
    """A 16-bit colour image in 8 bits: of the bits that the largest value of any colour uses, the 8 highest.

    Args:
        high: RGB or RGBA; the high byte of each channel.
        low: the low byte of each.
    """
    pixels, high_bytes = np.array(low), np.asarray(high)
    bits = int(high_bytes[..., :3].max()).bit_length()
    pixels >>= bits
    pixels |= high_bytes << (8 - bits)
    # Alpha may use all bits when colours do not.
    if int(high_bytes[..., 3:].max(initial=0)).bit_length() > bits:
        pixels[..., 3:] = high_bytes[..., 3:]
    return PILImage.fromarray(pixels)
