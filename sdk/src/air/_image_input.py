"""From what a caller has to the picture file that is sent."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeGuard, Union

from . import _base64
from ._extra import images_extra
from ._prepared import PreparedImage
from .errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage


class ArrayLike(Protocol):
    """A numpy array, or what numpy can read as one, such as a tensor in CPU memory."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any: ...


Picture: TypeAlias = Union[str, bytes, bytearray, memoryview, os.PathLike[str], "PILImage", ArrayLike, PreparedImage]

_ID_PREFIX = "id:"

# Base64 is told from a file name by its beginning; a picture's whole text need not be looked at.
_LONGEST_FILE_NAME = 1024


def as_base64(picture: Picture) -> str:
    """The picture for a JSON body: text as it is, anything else as `as_file` has it.

    Raises:
        InputError: it is no picture.
        OSError: the file cannot be read.
        MissingExtraError: it is an array, and numpy or Pillow is not installed.
    """
    if isinstance(picture, PreparedImage):
        picture = picture._held()
    if isinstance(picture, str):
        _refuse_file_name(picture)
        return picture
    return _base64.encode(as_file(picture))


def as_file(picture: Picture) -> bytes | bytearray | memoryview:
    """The picture file: text decoded, a path read, pixels as a PNG. Raises as `as_base64` does."""
    if isinstance(picture, PreparedImage):
        picture = picture._held()
    if isinstance(picture, str):
        _refuse_file_name(picture)
        return _base64.decode_picture(picture)
    if isinstance(picture, bytes | bytearray | memoryview):
        if len(picture) == 0:
            raise InputError("image is empty")
        return picture
    if isinstance(picture, os.PathLike):
        return Path(picture).read_bytes()
    if is_pil_image(picture) or is_array(picture):
        with images_extra("sending pixels"):
            from . import _pixels  # noqa: PLC0415
        return _pixels.picture_png(picture)
    raise InputError(
        "image must be base64 text, the bytes of a picture file, a pathlib.Path, a PIL image or an array of "
        f"uint8 [height, width, 3]; got {type(picture).__name__}"
    )


def as_kept(picture: Picture) -> bytes | str:
    """What to hold for later: text as it is, else the file, whatever becomes of the caller's. Raises as above."""
    if isinstance(picture, PreparedImage):
        return picture._held()
    return as_base64(picture) if isinstance(picture, str) else bytes(as_file(picture))


def is_id(picture: object) -> TypeGuard[str]:
    """Whether it names a prepared picture: ``"id:img_…"``, which neither base64 nor a drive's letter begins with."""
    return isinstance(picture, str) and picture.startswith(_ID_PREFIX)


def is_pil_image(value: object) -> "TypeGuard[PILImage]":
    # Whoever holds a PIL image has imported PIL: no need to import it here, where it may be missing.
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def is_array(value: object) -> TypeGuard[ArrayLike]:
    return hasattr(value, "__array__") and not isinstance(value, type)


def _refuse_file_name(text: str) -> None:
    """A str is base64, as in the reference API; a file's name there is a mistake worth a sentence."""
    if text.startswith("data:"):
        return
    if not text.strip():
        raise InputError("image is empty")
    if is_id(text):
        raise InputError(f"image is a prepared picture's id, {text[:80]!r}; here the picture itself is needed")
    head = text[:_LONGEST_FILE_NAME]
    if head.startswith(("http://", "https://")):
        raise InputError(f"image is a URL ({head[:80]}); download the picture and pass its bytes")
    # None of these occurs in base64, nor in its URL-safe variant.
    if set(head) & set(".:\\~") or (len(text) < _LONGEST_FILE_NAME and _exists(text)):
        raise InputError(f"a str is taken as base64, this looks like a file's name: pass pathlib.Path({head[:80]!r})")


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long a name, or a zero byte
        return False
