"""What the API answers.

Every answer is a pydantic model that also reads like a mapping: ``response["data"]``, ``"usage" in response``,
``response.keys()``, ``dict(response)``. Keys that this release does not know are kept.
"""

import os
import reprlib
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from .._base64 import decode_mask
from .._extra import images_extra
from ..errors import InputError, MaskError, MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as PILImage

    from .._image_input import Picture

# A mask in base64 or polygons may be a megabyte; a notebook shows the repr of every result.
_shorten = reprlib.Repr()
_shorten.maxlevel = 3
_shorten.maxstring = _shorten.maxother = 80


class _Shortened:
    def __init__(self, value: object) -> None:
        self._text = repr(value) if isinstance(value, BaseModel) else _shorten.repr(value)

    def __repr__(self) -> str:
        return self._text


class Record(BaseModel):
    """A pydantic model that also reads like a mapping of its fields, unknown ones included."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    def _as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields} | (self.__pydantic_extra__ or {})

    def __getitem__(self, key: str) -> Any:
        return self._as_dict()[key]

    def __contains__(self, key: object) -> bool:
        return key in self._as_dict()

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a mapping's keys, not pydantic's pairs
        return iter(self._as_dict())

    def __len__(self) -> int:
        return len(self._as_dict())

    def get(self, key: str, default: Any = None) -> Any:
        return self._as_dict().get(key, default)

    def keys(self) -> KeysView[str]:
        return self._as_dict().keys()

    def values(self) -> ValuesView[Any]:
        return self._as_dict().values()

    def items(self) -> ItemsView[str, Any]:
        return self._as_dict().items()

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in self.items():
            if isinstance(value, list) and any(isinstance(item, BaseModel) for item in value):
                yield name, [_Shortened(item) for item in value]
            else:
                yield name, _Shortened(value)


class Answer(Record):
    """A whole response body."""

    _request_id: str | None = PrivateAttr(default=None)

    @property
    def request_id(self) -> str | None:
        """The server's ``x-request-id``, which its log has too. Not part of the body."""
        return self._request_id


class Nothing(Answer):
    """The answer of calls that answer nothing: any body will do."""


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
    """What became of one object of the prompt, or of several that turned out to be the same one.

    Attributes:
        value: its value in the categorical mask, from 1.
        prompts: indices into ``segment_prompt`` of the objects that it answers.
        score: the model's confidence, 0 to 1; None if the model gives none.
        area: pixels of the answered mask with this value; 0 when nothing was found.
        bbox: (x, y, width, height) in pixels, as COCO has it; None when the area is 0.
        rle: its pixels, when the request said ``response_format="rle"``.
        polygons: its outline, when the request said ``response_format="polygons"``: for each connected part a
            list of rings, the outside first, then the holes. A ring is a list of (x, y) along the edges of
            pixels: pixel (x, y) covers [x, x + 1] × [y, y + 1].
    """

    value: int
    prompts: list[int] = []
    score: float | None = None
    area: int | None = None
    bbox: tuple[float, float, float, float] | None = None
    rle: RLE | None = None
    polygons: list[Polygon] | None = None

    # (b64_json, height, width) of the mask around this segment: a segment alone may not hold its pixels.
    _mask: tuple[str | None, int | None, int | None] = PrivateAttr(default=(None, None, None))

    def to_numpy(self) -> "NDArray[np.bool_]":
        """Its pixels: bool [height, width].

        Raises:
            MaskError: the answer does not hold them, or is damaged.
            MissingExtraError: numpy or Pillow is not installed.
        """
        with images_extra("Segment.to_numpy()"):
            from .. import _mask_arrays as _masks  # noqa: PLC0415
        return _masks.segment_pixels(self, *self._mask)


class Mask(Record):
    """One reading of the prompt: a categorical mask.

    0 is background; value k belongs to object k of the prompt, counted from 1.

    Attributes:
        b64_json: the mask as a PNG of one channel, 8 or 16 bits, in base64; None for other response formats.
        label: the segment's class, from models that have classes.
        score: the model's confidence, 0 to 1: the mean over the segments, weighted by area.
        segments: which prompts became which value.
        width: the mask's width in pixels; some servers tell it only when ``b64_json`` is None.
        height: the mask's height in pixels; likewise.
    """

    b64_json: str | None = None
    label: str | None = None
    score: float | None = None
    segments: list[Segment] | None = None
    width: int | None = None
    height: int | None = None

    def model_post_init(self, context: Any, /) -> None:
        for segment in self.segments or ():
            segment._mask = (self.b64_json, self.height, self.width)

    def to_numpy(self) -> "NDArray[np.uint8] | NDArray[np.uint16]":
        """The categorical mask: uint8 [height, width], or uint16 when values exceed 255.

        Raises:
            MaskError: segments overlap (``compose=False``), so that a pixel would need two values; or the answer
                is damaged.
            MissingExtraError: numpy or Pillow is not installed.
        """
        with images_extra("Mask.to_numpy()"):
            from .. import _mask_arrays as _masks  # noqa: PLC0415
        return _masks.categorical(self)

    def to_image(self) -> "PILImage":
        """The categorical mask as a PIL image, mode ``L`` (8 bits) or ``I;16``. Raises as `to_numpy` does."""
        with images_extra("Mask.to_image()"):
            from .. import _mask_arrays as _masks  # noqa: PLC0415
        return _masks.to_image(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the categorical mask as a PNG of one channel, 8 or 16 bits. Raises as `to_numpy` does.

        A server's own PNG is written as it came; numpy and Pillow are needed for other response formats only.

        Raises:
            InputError: the path does not end in ``.png``: a JPEG would change the values.
        """
        target = Path(path)
        if target.suffix.lower() != ".png":
            raise InputError(f"a mask's values survive in PNG only; name it {target.with_suffix('.png').name!r}")
        if self.b64_json is None:
            self.to_image().save(target, "PNG")
        else:
            target.write_bytes(decode_mask(self.b64_json))

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows: every value in its colour. None, so that it shows the text, where that cannot be."""
        try:
            with images_extra("Showing a mask"):
                from .. import _overlay  # noqa: PLC0415
            return _overlay.portrait(self)
        except (MaskError, MissingExtraError):
            return None

    def overlay(
        self, image: "Picture", *, alpha: float = 0.45, exif: Literal["apply", "ignore"] = "apply"
    ) -> "PILImage":
        """The picture with every segment in a colour of its own: an RGB PIL image of the picture's size.

        A value's colour is always the same. Where the request asked for another ``size``, the mask is scaled to
        the picture.

        Args:
            image: the picture that was sent, as anything that ``segment`` takes; of a prepared one the picture that
                it holds.
            alpha: 0 shows the picture alone with the outlines, 1 solid colours.
            exif: the same as in the request. A prepared picture is drawn as it was prepared.

        Raises:
            InputError: ``image`` or ``alpha`` cannot be used.
            MaskError: the answer is damaged.
            MissingExtraError: numpy or Pillow is not installed.
        """
        with images_extra("Mask.overlay()"):
            from .. import _overlay  # noqa: PLC0415
        return _overlay.overlay(self, image, alpha, exif)


class Usage(Record):
    """What a request cost, in tokens.

    Attributes:
        input_tokens: tokens of the picture and of the prompt.
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


class Model(Record):
    """A model that the server offers.

    Attributes:
        id: the name to pass as ``model``.
        created: Unix time in seconds.
        owned_by: who made or serves it.
    """

    id: str
    object: str = "model"
    created: int | None = None
    owned_by: str | None = None


class ModelList(Answer):
    """The answer of ``models.list``. Iterates over its models."""

    object: str = "list"
    data: list[Model]

    def __iter__(self) -> Iterator[Model]:  # type: ignore[override]  # its models, as the mapping's keys above
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


class Account(Answer):
    """Whom an API key belongs to.

    Attributes:
        organization_id: the account's id on the server.
    """

    organization_id: str = Field(min_length=1)
