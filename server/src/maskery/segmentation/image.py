"""File bytes to an upright RGB image, with limits checked before any pixel is decoded."""

import hashlib
import io
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from maskery.segmentation.errors import ImageTooLarge, NotAnImage

Exif = Literal["apply", "ignore"]

#: Formats that are read, as people write them.
READABLE = ("JPEG", "PNG", "WebP", "AVIF", "GIF", "BMP", "TIFF")

_FORMATS = tuple(name.upper() for name in READABLE)

# The limit on pixels is ours (ImageTooLarge), is checked before decoding, and may be set above Pillow's own.
PILImage.MAX_IMAGE_PIXELS = None

# Its readers register themselves when first needed, which two threads must not do at the same time.
PILImage.init()

#: Extensions of the files of these formats, in lower case. An MPO file is a JPEG with further frames behind it.
FILE_SUFFIXES = frozenset(
    suffix for suffix, name in PILImage.registered_extensions().items() if name in (*_FORMATS, "MPO")
)

_ORIENTATION = 0x0112
_IMAGE_WIDTH = 0x0100
_IMAGE_LENGTH = 0x0101
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

# Pillow's modes whose conversion to RGB means what a person sees.
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
    """What an image may weigh.

    Attributes:
        max_bytes: of the file.
        max_pixels: width × height, from the file's header.
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
    """Name of the image that `open_image` makes of these bytes: 64 hexadecimal digits."""
    made = hashlib.sha256(exif.encode() + b"\0")
    made.update(data)
    return made.hexdigest()


class ImageFile:
    """An image file whose header has been read and found within the limits; no pixel has been decoded.

    Args:
        data: the file's bytes.
        exif: ``"apply"`` turns the image as its EXIF orientation says, ``"ignore"`` leaves it as stored.
        limits: what it may weigh.

    Raises:
        NotAnImage: not an image, or of a kind that we do not read.
        ImageTooLarge: over one of the limits.
    """

    def __init__(self, data: bytes, exif: Exif = "apply", limits: ImageLimits | None = None) -> None:
        limits = limits or ImageLimits()
        if len(data) > limits.max_bytes:
            raise ImageTooLarge(f"the image has {len(data):,} bytes; at most {limits.max_bytes:,} are accepted")
        self._data = data
        self._exif = exif
        # Pillow allocates the first frame of a GIF when it opens the file.
        _check_pixels(_gif_frame(data), limits)
        self._image = _open(data)
        stored = _stored_size(self._image)
        _check_pixels(stored, limits)
        self._orientation = _orientation(self._image)
        turned = exif == "apply" and self._orientation in _TURNED
        #: Size of the image as it will be decoded: upright, or with exif ``"ignore"`` as stored.
        self.size = Size(stored.height, stored.width) if turned else stored

    @cached_property
    def digest(self) -> str:
        """Name of the upright image: 64 hexadecimal digits."""
        return digest(self._data, self._exif)

    def decode(self) -> Image:
        """Decode the pixels.

        Transparent parts are shown on white, deep grays are scaled to 8 bits, an animation gives its first
        frame.

        Raises:
            NotAnImage: the file is damaged, or its pixels are of a kind that has no RGB meaning.
        """
        try:
            self._image.load()
            image = _to_rgb(self._image)
        except (NotAnImage, MemoryError):
            raise
        # Pillow's readers raise whatever damaged pixels lead them into.
        except Exception as error:
            raise NotAnImage(f"the image is damaged: {_sentence(error)}") from error
        # Pillow turns TIFF files upright when it loads them, and only those.
        turned = isinstance(self._image, TiffImageFile)
        if turned != (self._exif == "apply"):
            transpose = (_BACK if turned else _UPRIGHT).get(self._orientation)
            image = image if transpose is None else image.transpose(transpose)
        return Image(np.asarray(image))


def open_image(data: bytes, exif: Exif = "apply", limits: ImageLimits | None = None) -> Image:
    """File bytes to an upright RGB image; arguments and errors as of `ImageFile`."""
    return ImageFile(data, exif, limits).decode()


def _check_pixels(size: Size, limits: ImageLimits) -> None:
    if size.pixels > limits.max_pixels:
        raise ImageTooLarge(
            f"the image is {size} ({size.pixels:,} pixels); at most {limits.max_pixels:,} pixels are accepted: send a "
            "smaller copy"
        )


def _gif_frame(data: bytes) -> Size:
    """Extent of a GIF's first frame, which may exceed the size in the header; empty for other files.

    Reads the blocks as Pillow does, so that both find the same frame in a malformed file.
    """
    file = io.BytesIO(data)
    header = file.read(13)
    if not header.startswith((b"GIF87a", b"GIF89a")) or len(header) < 13:
        return Size(0, 0)
    if header[10] & 0x80:
        file.seek(3 << (header[10] & 7) + 1, io.SEEK_CUR)

    def read_block() -> bytes:
        length = file.read(1)
        return file.read(length[0]) if length else b""

    while (marker := file.read(1)) not in (b"", b";"):
        if marker == b"!":
            kind, block = file.read(1), read_block()
            if kind == b"\xff" and block.startswith(b"NETSCAPE2.0"):
                read_block()
            if kind != b"\xfe" or block:
                while read_block():
                    pass
        elif marker == b",":
            left, top, width, height = struct.unpack("<4H", file.read(8).ljust(8, b"\0"))
            return Size(left + width, top + height)
    return Size(0, 0)


def _open(data: bytes) -> PILImage.Image:
    try:
        return PILImage.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise NotAnImage(f"the bytes are not an image of a kind that is read here: {', '.join(READABLE)}") from None
    except MemoryError:
        raise
    # Pillow's readers raise whatever a malformed header leads them into.
    except Exception as error:
        raise NotAnImage(f"the image's header is damaged: {_sentence(error)}") from error


def _stored_size(image: PILImage.Image) -> Size:
    if isinstance(image, TiffImageFile):
        # Its `size` is that of the upright image already.
        return Size(image.tag_v2[_IMAGE_WIDTH], image.tag_v2[_IMAGE_LENGTH])
    return Size(*image.size)


def _orientation(image: PILImage.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
        return orientation if orientation in _UPRIGHT else 1
    # EXIF is an attachment: a malformed one leaves the image as it is stored, as viewers do.
    except Exception:  # noqa: BLE001
        return 1


def _to_rgb(image: PILImage.Image) -> PILImage.Image:
    if image.mode in _DEEP_GRAY_MODES:
        gray = np.asarray(image).astype(np.uint16) >> 8
        return PILImage.fromarray(gray.astype(np.uint8)).convert("RGB")
    if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = PILImage.new("RGBA", image.size, "white")
        return PILImage.alpha_composite(white, rgba).convert("RGB")
    if image.mode in _PLAIN_MODES:
        return image if image.mode == "RGB" else image.convert("RGB")
    raise NotAnImage(
        f"the image's pixels ({image.mode!r}, {image.format}) have no fixed meaning as colours: "
        "send 8 bits a channel, or 16-bit gray"
    )


def _sentence(error: Exception) -> str:
    return str(error) or type(error).__name__
