"""From the images that callers pass to the image files that are sent, and back to pixels for drawing."""

import binascii
import os
import re
import sys
from abc import ABC, abstractmethod
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeGuard, Union

from ._config import Upload
from ._encoding import (
    Body,
    OptionalModule,
    decode_base64,
    decode_image,
    encode_base64,
    json_body,
    multipart_body,
    session_id,
)
from .errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image
    from PIL.Image import Image as PILImage
else:
    np, Image = OptionalModule("numpy"), OptionalModule("PIL.Image")

Exif = Literal["apply", "ignore"]


class ArrayLike(Protocol):
    """A numpy array, or an object that numpy converts to one, such as a tensor in CPU memory."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any: ...


class HeldImage(ABC):
    """An object of this package that holds an image file: see `PreparedImage`."""

    @property
    @abstractmethod
    def exif(self) -> Exif:
        """How the server treats the file's EXIF orientation."""

    @abstractmethod
    def held_file(self) -> bytes | str:
        """The image file, or its base64. Raises InputError if it is not held."""


ImageInput: TypeAlias = Union[str, bytes, bytearray, memoryview, os.PathLike[str], "PILImage", ArrayLike, HeldImage]

_ID_PREFIX = "id:"

# The beginning tells base64 from a file name; the text of a large image is not searched.
_LONGEST_FILE_NAME = 1024

_SIGNATURES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")

# Pillow's modes that PNG represents without loss.
_PNG_MODES = frozenset({"1", "L", "LA", "I;16", "P", "RGB", "RGBA"})
_DEEP_GRAY_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_TRANSPARENT_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})

_ORIENTATION = 0x0112
# Members of `PIL.Image.Transpose`, from the stored image to the upright one.
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_STORED = {**_UPRIGHT, 6: "ROTATE_90", 8: "ROTATE_270"}
# Where Pillow finds an orientation that browsers, OpenCV and the server do not use.
_IGNORED_METADATA = frozenset({"xmp", "XML:com.adobe.xmp", "Raw profile type exif"})

# Compressed once and read once: deflate's fastest level.
_COMPRESS_LEVEL = 1


def image_body(upload: Upload, image: ImageInput, exif: str | None, fields: dict[str, Any]) -> Body:
    """An image and fields as multipart, or as JSON with the image's base64 in ``image_prompt``. Raises as `as_file`."""
    if upload == "multipart":
        return multipart_body(as_file(image, exif), fields)
    held = as_held(image, exif)
    text = held if isinstance(held, str) else encode_base64(held)
    return json_body({"image_prompt": text, **fields}, _session_id(held))


def _session_id(held: bytes | str) -> str | None:
    """As `session_id`; None for text that is not base64, which the server refuses."""
    try:
        return session_id(decode_base64(held) if isinstance(held, str) else held)
    except binascii.Error:
        return None


def as_file(image: ImageInput, exif: str | None = None) -> bytes:
    """The image file: base64 decoded, a path read, pixels as PNG.

    Args:
        exif: "apply" turns a PIL image as its EXIF orientation says; pixels are sent without EXIF.

    Raises:
        InputError: it is not an image.
        OSError: the file cannot be read.
        MissingExtraError: it is an array, and numpy or Pillow is not installed.
    """
    held = as_held(image, exif)
    return decode_image(held) if isinstance(held, str) else held


def as_held(image: ImageInput, exif: str | None = None) -> bytes | str:
    """The image file, or base64 as it was passed: a copy that later changes of ``image`` do not affect.

    Raises as `as_file`.
    """
    if isinstance(image, HeldImage):
        return image.held_file()
    if isinstance(image, str):
        _refuse_file_name(image)
        return image
    if isinstance(image, bytes | bytearray | memoryview):
        data = bytes(image)
        if not data:
            raise InputError("image is empty")
        return base64_in(data) or data
    if isinstance(image, os.PathLike):
        return Path(image).read_bytes()
    if is_pil_image(image) or is_array(image):
        return pixels_png(image, exif)
    advice = ": pass its read()" if hasattr(image, "read") else ""
    raise InputError(
        "image must be base64 text, the bytes of an image file, a pathlib.Path, a PIL image or an array of "
        f"uint8 [height, width, 3]; got {type(image).__name__}{advice}"
    )


def base64_in(data: bytes) -> str | None:
    """The base64 text of an image file, where it was passed as bytes; None if the bytes are something else."""
    try:
        if data.startswith(b"data:"):
            return data.decode("ascii")
        head = "".join(data[:100].decode("ascii").split())
        start = decode_base64(head[: len(head) // 4 * 4])
        is_image = start.startswith(_SIGNATURES) or start[4:8] == b"ftyp"
        return data.decode("ascii") if is_image else None
    except (UnicodeDecodeError, binascii.Error):
        return None


def is_id(image: object) -> TypeGuard[str]:
    """Whether it is the id of a prepared image, ``"id:img_…"``: base64 contains no colon."""
    return isinstance(image, str) and image.startswith(_ID_PREFIX)


def _refuse_file_name(text: str) -> None:
    """A str is base64, as in the reference API; a file name there is a mistake that deserves a sentence."""
    if text.startswith("data:"):
        return
    if not text.strip():
        raise InputError("image is empty")
    if is_id(text):
        raise InputError(f"image is a prepared image's id, {text[:80]!r}; here the image itself is needed")
    if re.fullmatch("img_[A-Za-z0-9_-]+", text):
        raise InputError(f'image is a prepared image\'s id: pass "{_ID_PREFIX}{text[:80]}"')
    head = text[:_LONGEST_FILE_NAME]
    if head.startswith(("http://", "https://")):
        raise InputError(f"image is a URL ({head[:80]}); download the image and pass its bytes")
    # None of these occurs in base64, nor in its URL-safe variant.
    if set(head) & set(".:\\~") or (len(text) < _LONGEST_FILE_NAME and _exists(text)):
        raise InputError(f"a str is taken as base64, this looks like a file's name: pass pathlib.Path({head[:80]!r})")


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or a zero byte
        return False


def is_pil_image(value: object) -> "TypeGuard[PILImage]":
    # A program that has not imported PIL has no PIL image, and PIL may not be installed.
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def is_array(value: object) -> TypeGuard[ArrayLike]:
    return hasattr(value, "__array__") and not isinstance(value, type)


def pixels_png(image: "PILImage | ArrayLike", exif: str | None = None) -> bytes:
    """Pixels as a PNG file, lossless, without EXIF or other metadata.

    Args:
        image: a PIL image, or uint8 [height, width], [height, width, 3] RGB or [height, width, 4] RGBA.
        exif: "apply" turns a PIL image as its EXIF orientation says.

    Raises:
        InputError: another dtype, shape or mode, or the PIL image's file is closed or damaged.
    """
    pixels = _pil_pixels(image, exif) if is_pil_image(image) else _image_from_array(image)
    if pixels.mode in _DEEP_GRAY_MODES or (pixels.mode == "I" and pixels.format == "PNG"):  # "I": Pillow before 11
        return _png(Image.fromarray(np.asarray(pixels).astype(np.uint16)))
    if pixels.mode in ("F", "I"):
        raise InputError(f"image: PIL mode {pixels.mode!r} has no fixed range{_advice(np.asarray(pixels))}")
    return _png(pixels if pixels.mode in _PNG_MODES else _opaque_or_rgba(pixels))


def mask_png(mask: "PILImage | ArrayLike") -> bytes:
    """A mask prompt as a PNG file of one channel, 0 and 255.

    Args:
        mask: a PIL image of one channel, or bool or uint8 [height, width]; values other than 0 are on the object.

    Raises:
        InputError: another dtype or shape.
    """
    array = np.asarray(_loaded(mask)) if is_pil_image(mask) else _array(mask)
    if array.ndim != 2 or array.dtype not in (np.bool_, np.uint8) or array.size == 0:
        raise InputError(f"a mask must be bool or uint8 [height, width], got {_described(array)}")
    return _png(Image.fromarray(np.where(array, np.uint8(255), np.uint8(0))))


def open_rgb(image: ImageInput, exif: str | None) -> "PILImage":
    """The image as a person sees it, mode RGB: as the server reads it.

    Args:
        exif: "apply" turns an image as its EXIF orientation says, "ignore" does not. None turns files, and leaves
            PIL images as they are, since that is how they are sent. A prepared image has its own.

    Raises:
        InputError: it is not an image.
        OSError: the file cannot be read.
    """
    if is_pil_image(image):
        return _rgb(_pil_pixels(image, exif))
    if is_array(image):
        return _rgb(_image_from_array(image))
    if isinstance(image, HeldImage):
        exif = image.exif
    data = as_file(image)
    try:
        opened = Image.open(BytesIO(data))
    except OSError:
        raise InputError("image is not an image file that Pillow reads") from None
    return _rgb(_file_pixels(opened, exif or "apply"))


def _pil_pixels(image: "PILImage", exif: str | None) -> "PILImage":
    return _upright(image) if exif == "apply" else _loaded(image)


def _upright(image: "PILImage") -> "PILImage":
    """The image turned as its EXIF orientation says. Pillow has turned TIFF files itself when it loaded them."""
    _loaded(image)
    return image if hasattr(image, "tag_v2") else _transposed(image, _UPRIGHT.get(_orientation(image)))


def _file_pixels(image: "PILImage", exif: str) -> "PILImage":
    """The pixels of an opened file, upright or as stored."""
    if not hasattr(image, "tag_v2"):
        return _upright(image) if exif == "apply" else _loaded(image)
    turned = image.getexif().get(_ORIENTATION, 1)  # by Pillow, which also uses an orientation in XMP
    wanted = image.tag_v2.get(_ORIENTATION, 1) if exif == "apply" else 1
    _loaded(image)
    return image if turned == wanted else _transposed(image, _STORED.get(turned))


def _orientation(image: "PILImage") -> int:
    """From EXIF alone, as browsers, OpenCV and the server read it."""
    try:
        if _IGNORED_METADATA.isdisjoint(image.info):
            exif = image.getexif()
        else:
            exif = Image.Exif()
            exif.load(image.info.get("exif", b""))
        return int(exif.get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - malformed EXIF leaves the image as stored, as in viewers
        return 1


def _transposed(image: "PILImage", method: str | None) -> "PILImage":
    return image if method is None else image.transpose(getattr(Image.Transpose, method))


def _loaded(image: "PILImage") -> "PILImage":
    """The image, with its pixels in memory. Raises InputError."""
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - Pillow's readers raise whatever damaged data leads them into
        raise InputError(
            f"the PIL image cannot be read ({error}): its file is closed or damaged. Pass the path, or call load() "
            "while the file is open"
        ) from None
    return image


def _rgb(image: "PILImage") -> "PILImage":
    """Deep grays scaled down, transparent parts on white."""
    if image.mode in _DEEP_GRAY_MODES:  # Pillow's own conversion clips at 255
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    image = _opaque_or_rgba(image)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _opaque_or_rgba(image: "PILImage") -> "PILImage":
    """Mode RGB, or RGBA if parts may be transparent."""
    if image.mode == "La":  # Pillow converts it to LA only
        image = image.convert("LA")
    transparent = image.mode in _TRANSPARENT_MODES or "transparency" in image.info
    return image.convert("RGBA" if transparent else "RGB")


def _array(value: object) -> "NDArray[Any]":
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # such as of a tensor that is not in CPU memory
        raise InputError(f"{type(value).__name__} cannot be converted to an array: {error}") from None


def _image_from_array(image: object) -> "PILImage":
    array = _array(image)
    if array.dtype != np.uint8:
        raise InputError(f"an image array must be uint8, got {_described(array)}{_advice(array)}")
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise InputError(
            f"an image array must be [height, width], [height, width, 3] or [height, width, 4], got {_described(array)}"
        )
    return Image.fromarray(array)


def _advice(array: "NDArray[Any]") -> str:
    """An expression that makes uint8 of the array, by its dtype and range."""
    if array.dtype.kind not in "bfiu" or array.size == 0:
        return ""
    lowest, highest = float(array.min()), float(array.max())
    if lowest < 0 or not highest <= 255:  # NaN too
        return f" with values from {lowest:g} to {highest:g}; scale them to 0 to 255 first"
    scale = "255 * " if array.dtype.kind in "bf" and highest <= 1 else ""
    return f"; pass np.rint({scale}np.asarray(image)).astype(np.uint8)"


def _png(image: "PILImage") -> bytes:
    bare = image.copy()
    # An ICC profile, XMP or text would be sent along; only transparency belongs to the pixels.
    bare.info = {key: value for key, value in image.info.items() if key == "transparency"}
    if 0 in bare.size:
        raise InputError("image is empty")
    file = BytesIO()
    bare.save(file, "PNG", compress_level=_COMPRESS_LEVEL)
    return file.getvalue()


def _described(array: "NDArray[Any]") -> str:
    return f"{array.dtype} {list(array.shape)}"
