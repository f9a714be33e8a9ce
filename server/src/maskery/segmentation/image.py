"""Decodes image files to upright RGB pixels, with limits checked before any pixel is decoded."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from maskery.segmentation import pillow
from maskery.segmentation.bit_depth import scale_gray
from maskery.segmentation.errors import ImageError, ImageTooLarge, NotAnImage

Exif = Literal["apply", "ignore"]

_UPRIGHT = {
    2: PILImage.Transpose.FLIP_LEFT_RIGHT,
    3: PILImage.Transpose.ROTATE_180,
    4: PILImage.Transpose.FLIP_TOP_BOTTOM,
    5: PILImage.Transpose.TRANSPOSE,
    6: PILImage.Transpose.ROTATE_270,
    7: PILImage.Transpose.TRANSVERSE,
    8: PILImage.Transpose.ROTATE_90,
}
_BACK = {
    **_UPRIGHT,
    6: PILImage.Transpose.ROTATE_90,
    8: PILImage.Transpose.ROTATE_270,
}
_TURNED = frozenset({5, 6, 7, 8})

# Pillow's modes that convert to RGB without loss of meaning.
_PLAIN_MODES = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})
_TRANSPARENT_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_DEEP_GRAY_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class ImageLimits:
    """Limits on an image's file.

    Attributes:
        max_bytes: of the file.
        max_pixels: width × height, read from the file's header.
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 64_000_000


@dataclass(frozen=True, eq=False)
class Image:
    """An upright image.

    Attributes:
        pixels: uint8 [height, width, 3], RGB.
    """

    pixels: NDArray[np.uint8]

    @property
    def size(self) -> Size:
        height, width = self.pixels.shape[:2]
        return Size(width, height)


def digest(data: bytes, exif: Exif = "apply") -> str:
    """SHA-256 of an image's file, as 64 hexadecimal digits, and the EXIF option."""
    return f"{hashlib.sha256(data).hexdigest()}-{exif}"


class ImageFile:
    """An image file whose header has been read and is within the limits. No pixel has been decoded.

    Args:
        data: the file's bytes.
        exif: ``"apply"`` applies the EXIF orientation, ``"ignore"`` leaves the image as stored.
        limits: on bytes and pixels.

    Raises:
        NotAnImage: the bytes are not an image, or are in an unsupported format.
        ImageTooLarge: the image exceeds a limit.
    """

    def __init__(self, data: bytes, exif: Exif = "apply", limits: ImageLimits | None = None) -> None:
        limits = limits or ImageLimits()
        if len(data) > limits.max_bytes:
            raise ImageTooLarge(f"the image has {len(data):,} bytes; at most {limits.max_bytes:,} are accepted")
        self._data = data
        self._exif = exif
        _check_pixels(Size(*pillow.gif_frame(data)), limits)
        self._image = pillow.read_header(data)
        self._orientation = pillow.orientation(self._image)
        # Pillow applies the orientation of TIFF files when it decodes them, and only theirs.
        self._is_upright = self._image.format == "TIFF"
        size = Size(*self._image.size)
        _check_pixels(size, limits)
        turns = self._orientation in _TURNED and self._is_upright != (exif == "apply")
        #: Size of the decoded image: upright, or with exif ``"ignore"`` as stored.
        self.size = Size(size.height, size.width) if turns else size

    @cached_property
    def digest(self) -> str:
        """As of the function `digest`."""
        return digest(self._data, self._exif)

    def decode(self) -> Image:
        """Decode the pixels.

        Transparent pixels are blended with white, 16-bit channels are scaled to 8 bits by the bits they use, and of an
        animation the first frame is decoded.

        Raises:
            NotAnImage: the file is damaged, or its pixels cannot be converted to RGB.
        """
        try:
            image = _to_rgb(pillow.decode(self._image, self._data))
        except (ImageError, MemoryError):
            raise
        # Pillow raises many kinds of exceptions for damaged files.
        except Exception as error:
            raise NotAnImage(f"the image is damaged: {pillow.sentence(error)}") from error
        if self._is_upright != (self._exif == "apply"):
            transpose = (_BACK if self._is_upright else _UPRIGHT).get(self._orientation)
            image = image if transpose is None else image.transpose(transpose)
        return Image(np.asarray(image))


def open_image(data: bytes, exif: Exif = "apply", limits: ImageLimits | None = None) -> Image:
    """Decode an image file; arguments and errors as of `ImageFile`."""
    return ImageFile(data, exif, limits).decode()


def _check_pixels(size: Size, limits: ImageLimits) -> None:
    if size.pixels > limits.max_pixels:
        raise ImageTooLarge(
            f"the image is {size} ({size.pixels:,} pixels); at most {limits.max_pixels:,} pixels are accepted: send a "
            "smaller copy"
        )


def _to_rgb(image: PILImage.Image) -> PILImage.Image:
    if image.mode in _DEEP_GRAY_MODES:
        return scale_gray(image).convert("RGB")
    if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        white = PILImage.new("RGBA", image.size, "white")
        return PILImage.alpha_composite(white, rgba).convert("RGB")
    if image.mode in _PLAIN_MODES:
        return image if image.mode == "RGB" else image.convert("RGB")
    kind = {"F": "floating-point numbers", "I": "32-bit integers"}.get(image.mode, f"of the kind {image.mode!r}")
    raise NotAnImage(
        f"the pixels of the {image.format} are {kind}, of which black and white are unknown: convert them to 8 bits a "
        "channel, or to 16-bit gray"
    )
