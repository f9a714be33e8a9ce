"""From a mask in an answer to arrays, in each response format: PNG, run-length encoding, polygons."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ._encoding import OptionalModule, decode_mask
from .errors import MaskError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image
    from PIL.Image import Image as PILImage

    Categorical: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
else:
    np, Image = OptionalModule("numpy"), OptionalModule("PIL.Image")

Ring: TypeAlias = Sequence[tuple[float, float]]


class RunLengths(Protocol):
    """COCO's compressed run-length encoding: `air.RLE`."""

    size: tuple[int, int]
    counts: str


class Region(Protocol):
    """A segment: `air.Segment`."""

    value: int
    rle: Any
    polygons: Any


@dataclass
class MaskPixels:
    """The pixels that a mask and its segments share; the PNG is decoded once, when it is first needed.

    Attributes:
        b64_json: the categorical mask as PNG in base64; None for other response formats.
        height: in pixels, if known.
        width: in pixels, if known.
    """

    b64_json: str | None = None
    height: int | None = None
    width: int | None = None
    _decoded: Any = field(default=None, repr=False, compare=False)

    def decoded(self) -> "Categorical | None":
        """The PNG: uint8 or uint16 [height, width], read-only; None if there is none. Raises MaskError."""
        if self._decoded is None and self.b64_json is not None:
            self._decoded = read_png(self.b64_json)
            self._decoded.flags.writeable = False
        return self._decoded  # type: ignore[no-any-return]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_decoded": None}


def categorical(pixels: MaskPixels, segments: Sequence[Region]) -> "Categorical":
    """The categorical mask: uint8 or uint16 [height, width]. Raises MaskError."""
    png = pixels.decoded()
    if png is not None:
        return png.copy()
    height, width = mask_size(pixels, segments)
    dtype = np.uint16 if any(segment.value > 255 for segment in segments) else np.uint8
    values: NDArray[Any] = np.zeros((height, width), dtype)
    for segment in segments:
        region = segment_pixels(pixels, segment)
        if region.shape != values.shape:
            raise MaskError(f"segment {segment.value} is {region.shape}, its mask {values.shape}")
        if values[region].any():
            raise MaskError(
                f"segment {segment.value} overlaps another (compose=False answers whole masks), so no single "
                "array holds them: take each from mask.segments[i].to_numpy()"
            )
        values[region] = segment.value
    return values


def layers(pixels: MaskPixels, segments: Sequence[Region]) -> "Iterator[tuple[int, NDArray[np.bool_]]]":
    """The value and the pixels of each segment, bool [height, width], large ones first. Raises MaskError."""
    png = pixels.decoded()
    if png is None:
        regions = [(segment.value, segment_pixels(pixels, segment)) for segment in segments]
        yield from sorted(regions, key=lambda layer: -int(layer[1].sum()))
    else:
        for value in np.unique(png[png > 0]).tolist():
            yield value, np.equal(png, value)


def segment_pixels(pixels: MaskPixels, segment: Region) -> "NDArray[np.bool_]":
    """The pixels of one segment: bool [height, width]. Raises MaskError."""
    if segment.rle is not None:
        return decode_rle(segment.rle.counts, *segment.rle.size)
    if segment.polygons is not None and pixels.height is not None and pixels.width is not None:
        return fill_polygons(chain.from_iterable(segment.polygons), pixels.height, pixels.width)
    png = pixels.decoded()
    if png is None:
        raise MaskError(f"segment {segment.value} came without its pixels")
    return np.equal(png, segment.value)


def categorical_image(pixels: MaskPixels, segments: Sequence[Region]) -> "PILImage":
    """The categorical mask as a PIL image, mode L or I;16. Raises MaskError."""
    return Image.fromarray(categorical(pixels, segments))


def mask_size(pixels: MaskPixels, segments: Sequence[Region]) -> tuple[int, int]:
    """(height, width) of a mask. Raises MaskError."""
    if pixels.height is not None and pixels.width is not None:
        return pixels.height, pixels.width
    png = pixels.decoded()
    if png is not None:
        return png.shape[0], png.shape[1]
    for segment in segments:
        if segment.rle is not None:
            height, width = segment.rle.size
            return height, width
    raise MaskError("the mask came without pixels: it has neither b64_json nor a size with segments")


def read_png(b64_json: str) -> "Categorical":
    """A categorical PNG in base64: uint8 or uint16 [height, width]. Raises MaskError."""
    try:
        with Image.open(BytesIO(decode_mask(b64_json)), formats=["PNG"]) as image:
            mode, array = image.mode, np.asarray(image)
    except (OSError, SyntaxError) as error:  # how Pillow reports damage; UnidentifiedImageError is an OSError
        raise MaskError(f"the mask is not a complete PNG: {error}") from None
    if mode in ("1", "L", "P"):
        return array.astype(np.uint8)
    if mode.startswith("I"):  # 16 bits: "I;16", or "I" in older releases of Pillow
        return array.astype(np.uint16)
    raise MaskError(f"the mask is a PNG of mode {mode}; a categorical mask has one channel")


def decode_rle(counts: str, height: int, width: int) -> "NDArray[np.bool_]":
    """COCO's compressed run-length encoding as bool [height, width].

    A length is written in base 32, five bits a character from the low end, offset by 48; bit 5 marks that more
    characters follow, bit 4 of the last one is the sign. From the fourth run on, the difference to the run two before
    is written. Runs go down the columns and alternate, background first. (COCO API, common/maskApi.c, ``rleFrString``.)

    Raises:
        MaskError: the runs are damaged, or do not fill the mask.
    """
    runs = _run_lengths(counts)
    if any(run < 0 for run in runs) or sum(runs) != height * width:
        raise MaskError(f"the RLE does not fill a mask of {width}x{height}")
    on = np.arange(len(runs)) % 2 == 1
    return np.repeat(on, runs).reshape(width, height).T


def _run_lengths(counts: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        digit = ord(character) - 48
        if not 0 <= digit < 64:
            raise MaskError(f"the RLE contains {character!r}, which is not one of its digits")
        value |= (digit & 0x1F) << shift
        shift += 5
        if digit & 0x20:
            continue
        if digit & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise MaskError("the RLE ends within a number")
    return runs


def fill_polygons(rings: Iterable[Ring], height: int, width: int) -> "NDArray[np.bool_]":
    """The pixels whose centre lies inside an odd number of rings, bool [height, width].

    Rings inside rings are holes. Exact for rings along the edges of pixels, which never touch a centre.

    Args:
        rings: each a list of (x, y); the last corner joins the first.
    """
    # An edge flips every pixel to its right: mark where flips begin, then accumulate along the rows.
    flips = np.zeros((height, width + 1), np.uint8)
    for ring in rings:
        for (x0, y0), (x1, y1) in pairwise([*ring, *ring[:1]]):
            top, bottom = min(y0, y1), max(y0, y1)
            rows = np.arange(max(0, _first_centre(top)), min(height, _first_centre(bottom)))
            if rows.size:
                crossings = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
                columns = np.clip(np.ceil(crossings - 0.5), 0, width).astype(np.intp)
                flips[rows, columns] ^= 1
    return np.bitwise_xor.accumulate(flips, axis=1)[:, :width].astype(np.bool_)


def _first_centre(y: float) -> int:
    """The first row whose centre is at or below ``y``."""
    return int(np.ceil(y - 0.5))
