"""PIL images and arrays to PNG, and picture files to pixels. Needs numpy and Pillow."""

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ._image_input import ArrayLike, Picture, as_file, is_array, is_pil_image
from ._prepared import PreparedImage
from .errors import InputError

_PNG_MODES = frozenset({"1", "L", "LA", "I;16", "P", "RGB", "RGBA"})

_TRANSPARENT_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})

_ORIENTATION = 0x0112
# From the upright picture to the one that is stored.
_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}

# Pixels on their way to a server are compressed once and read once: deflate's fastest level.
_COMPRESS_LEVEL = 1


def picture_png(picture: "Image.Image | ArrayLike") -> bytes:
    """Pixels as they stand, lossless, without EXIF or other metadata.

    Args:
        picture: a PIL image, or uint8 [height, width], [height, width, 3] RGB or [height, width, 4] RGBA.

    Raises:
        InputError: another dtype or shape.
    """
    image = picture if is_pil_image(picture) else _image_from_array(picture)
    if image.mode not in _PNG_MODES:
        if image.mode in ("F", "I"):
            raise InputError(f"image: PIL mode {image.mode!r} has no range of brightness; convert it to 'L' or 'RGB'")
        image = image.convert("RGB")
    return _png(image)


def mask_png(mask: "Image.Image | ArrayLike") -> bytes:
    """A mask to start from as a PNG of one channel, 0 and 255.

    Args:
        mask: a PIL image of one channel, or bool or uint8 [height, width]; whatever is not 0 is on the object.

    Raises:
        InputError: another dtype or shape.
    """
    array = np.asarray(mask)
    if array.ndim != 2 or array.dtype not in (np.bool_, np.uint8) or array.size == 0:
        raise InputError(f"a mask must be bool or uint8 [height, width], got {_described(array)}")
    return _png(Image.fromarray(np.where(array, np.uint8(255), np.uint8(0))))


def open_rgb(picture: Picture, exif: str) -> Image.Image:
    """The picture as a person sees it, mode RGB: the way the server reads it.

    Args:
        exif: "apply" turns files as their EXIF orientation says. PIL images and arrays stay as they stand,
            since that is how they are sent; a prepared picture knows how it was prepared.

    Raises:
        InputError: it is not a picture.
        OSError: the file cannot be read.
    """
    if is_pil_image(picture):
        return _rgb(picture)
    if is_array(picture):
        return _rgb(_image_from_array(picture))
    if isinstance(picture, PreparedImage):
        exif = picture.exif
    try:
        image = Image.open(BytesIO(as_file(picture)))
    except UnidentifiedImageError:
        raise InputError("image is not a picture file that Pillow reads") from None
    if exif == "apply":
        return _rgb(ImageOps.exif_transpose(image))
    return _rgb(_as_stored(image))


def _as_stored(image: Image.Image) -> Image.Image:
    """Pillow turns some files (TIFF) upright when it loads them, and then takes their orientation away."""
    orientation = image.getexif().get(_ORIENTATION, 1)
    image.load()
    turned = image.getexif().get(_ORIENTATION, 1) != orientation
    return image.transpose(_BACK[orientation]) if turned and orientation in _BACK else image


def _rgb(image: Image.Image) -> Image.Image:
    """As a person sees it: deep grays scaled down, transparent parts on white."""
    if image.mode.startswith("I;16"):  # Pillow's own conversion cuts off at 255
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _image_from_array(picture: object) -> Image.Image:
    array: NDArray[Any] = np.asarray(picture)
    if array.dtype != np.uint8:
        hint = "; scale values of 0 to 1 with (255 * image).round()" if array.dtype.kind == "f" else ""
        raise InputError(f"an image array must be uint8, got {_described(array)}{hint}")
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise InputError(
            f"an image array must be [height, width], [height, width, 3] or [height, width, 4], got {_described(array)}"
        )
    return Image.fromarray(array)


def _png(image: Image.Image) -> bytes:
    bare = image.copy()
    # An ICC profile, XMP or text would travel along; only transparency belongs to the pixels.
    bare.info = {key: value for key, value in image.info.items() if key == "transparency"}
    file = BytesIO()
    bare.save(file, "PNG", compress_level=_COMPRESS_LEVEL)
    return file.getvalue()


def _described(array: NDArray[Any]) -> str:
    return f"{array.dtype} {list(array.shape)}"
