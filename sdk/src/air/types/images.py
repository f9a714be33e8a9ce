"""The answers of ``client.images``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PrivateAttr

from .._coco import coco_file
from .._encoding import decode_mask
from .._image_input import ImageInput
from .._mask_arrays import MaskPixels, categorical, categorical_image, layers, segment_pixels
from .._overlay import overlay, preview
from ..errors import InputError, MaskError, MissingExtraError
from .base import Answer, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as PILImage


class RLE(Record):
    """COCO's compressed run-length encoding, as pycocotools reads it.

    Attributes:
        size: (height, width) in pixels.
        counts: run lengths in column order, background first, in COCO's base-32 text.
    """

    size: tuple[int, int]
    counts: str


Ring = list[tuple[float, float]]
Polygon = list[Ring]


class Segment(Record):
    """A region of a mask: one object of the prompt, or several that turned out to be the same one.

    Attributes:
        value: its value in the categorical mask, from 1.
        prompts: indices into ``segment_prompt`` of the objects that it answers.
        label: name of the object, as the request's ``labels`` gave it; None if that has none.
        score: the model's confidence, 0 to 1; None if the model gives none.
        area: number of pixels with this value in the answered mask; 0 if nothing was found.
        bbox: (x, y, width, height) in pixels, as in COCO; None if the area is 0.
        rle: its pixels, with ``response_format="rle"``.
        polygons: its outline, with ``response_format="polygons"``: for each connected part a list of rings, the outer
            one first, then the holes. A ring is a list of (x, y) along the edges of pixels: pixel (x, y) covers
            [x, x + 1] × [y, y + 1].
    """

    value: int
    prompts: list[int] = Field(default_factory=list)
    label: str | None = None
    score: float | None = None
    area: int | None = None
    bbox: tuple[float, float, float, float] | None = None
    rle: RLE | None = None
    polygons: list[Polygon] | None = None

    # Those of its mask: a segment alone may not contain its pixels.
    _pixels: MaskPixels = PrivateAttr(default_factory=MaskPixels)

    def to_numpy(self) -> "NDArray[np.bool_]":
        """The pixels of the segment: bool [height, width].

        Raises:
            MaskError: the answer does not contain them, or is damaged.
            MissingExtraError: numpy or Pillow is not installed.
        """
        return segment_pixels(self._pixels, self)


class Mask(Record):
    """A categorical mask, for one candidate of each object.

    0 is background; value k belongs to object k of the prompt, counted from 1.

    Attributes:
        b64_json: the mask as a PNG of one channel, 8 or 16 bits, in base64; None for other response formats.
        label: the label of the segment, where there is only one.
        score: the model's confidence, 0 to 1: the mean over the segments, weighted by area.
        segments: which prompts became which value.
        width: in pixels; some servers send it only when ``b64_json`` is None.
        height: in pixels; likewise.
    """

    b64_json: str | None = None
    label: str | None = None
    score: float | None = None
    segments: list[Segment] | None = None
    width: int | None = None
    height: int | None = None

    _pixels: MaskPixels = PrivateAttr(default_factory=MaskPixels)

    def model_post_init(self, context: Any, /) -> None:
        self._share_pixels()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("b64_json", "segments", "width", "height"):
            self._share_pixels()

    def _share_pixels(self) -> MaskPixels:
        """The pixels of the fields as they are now, shared with the segments."""
        if self._pixels != (fresh := MaskPixels(self.b64_json, self.height, self.width)):
            self._pixels = fresh
        for segment in self.segments or ():
            if isinstance(segment, Segment):  # anything can be assigned
                segment._pixels = self._pixels
        return self._pixels

    def to_numpy(self) -> "NDArray[np.uint8] | NDArray[np.uint16]":
        """The categorical mask: uint8 [height, width], or uint16 if values exceed 255.

        Raises:
            MaskError: segments overlap (``compose=False``), so that a pixel would need two values; or the answer
                is damaged.
            MissingExtraError: numpy or Pillow is not installed.
        """
        return categorical(self._share_pixels(), self.segments or ())

    def to_image(self) -> "PILImage":
        """The categorical mask as a PIL image, mode ``L`` (8 bits) or ``I;16``. Raises as `to_numpy` does."""
        return categorical_image(self._share_pixels(), self.segments or ())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the categorical mask as a PNG of one channel, 8 or 16 bits. Raises as `to_numpy` does.

        A PNG from the server is written unchanged; numpy and Pillow are needed for other response formats only.

        Raises:
            InputError: the path does not end in ``.png``: a JPEG would change the values.
        """
        target = Path(path)
        if target.suffix.lower() != ".png":
            raise InputError(f"only PNG keeps a mask's values; name it {target.with_suffix('.png').name!r}")
        if self.b64_json is None:
            self.to_image().save(target, "PNG")
        else:
            target.write_bytes(decode_mask(self.b64_json))

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows: each value in its colour; None, so that it shows the text, if that fails."""
        try:
            return preview(self._share_pixels(), self.segments or ())
        except (MaskError, MissingExtraError):
            return None

    def overlay(
        self, image: ImageInput, *, alpha: float = 0.45, exif: Literal["apply", "ignore"] | None = None
    ) -> "PILImage":
        """The image with each segment in its own colour: an RGB PIL image of the image's size.

        A value always has the same colour. If the request set another ``size``, the mask is scaled to the image.

        Args:
            image: the image that was sent, in any form that ``segment`` accepts; a prepared image that holds its file.
            alpha: from 0, the image with outlines only, to 1, solid colours.
            exif: the same as in the request. A prepared image has its own.

        Raises:
            InputError: ``image`` or ``alpha`` cannot be used.
            MaskError: the answer is damaged.
            MissingExtraError: numpy or Pillow is not installed.
        """
        return overlay(self._share_pixels(), self.segments or (), image, alpha, exif)


class Usage(Record):
    """What a request cost, in tokens.

    Attributes:
        input_tokens: tokens of the image and of the prompt.
        input_tokens_details: the same by kind, such as ``{"image_tokens": 4096, "point_tokens": 1}``.
        output_tokens: mask tokens decoded.
        total_tokens: the sum.
    """

    input_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens: int
    total_tokens: int


class SegmentationResponse(Answer):
    """The answer of ``images.segment``.

    Attributes:
        created: Unix time in seconds.
        data: the masks, best first: as many as the request's ``n``.
        usage: what it cost; None if the server does not count.
    """

    created: int
    data: list[Mask]
    usage: Usage | None = None

    def to_coco(self, file_name: str = "image") -> dict[str, Any]:
        """The first mask as a COCO file of one image, to be written as JSON.

        Each segment that has pixels is an annotation, in RLE, or as polygons if the answer has polygons without holes,
        which COCO's polygons cannot have. Labels are the categories; segments without one are of the category
        ``"object"``.

        Args:
            file_name: of the image.

        Raises:
            MaskError: the answer has no mask, or is damaged.
            MissingExtraError: numpy or Pillow is not installed, and the answer has no RLE.
        """
        if not self.data:
            raise MaskError("the answer has no mask")
        mask = self.data[0]
        pixels, segments = mask._share_pixels(), mask.segments
        if segments is None:  # from a server that sends no more than the mask
            segments = [Segment(value=value) for value, _ in layers(pixels, ())]
        return coco_file(pixels, segments, mask.label, file_name)
