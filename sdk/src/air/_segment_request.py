"""From the arguments of ``segment`` to the calls that are sent."""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Required, TypeAlias, TypedDict, Union

from ._config import Config
from ._encoding import Body, encode_base64, json_body, plain
from ._image_input import ArrayLike, Exif, ImageInput, base64_in, image_body, is_array, is_id, is_pil_image, mask_png
from ._prepared_images import PreparedImage, checked_id, id_body, with_prepared
from ._transport import Call, Flow, dispatch
from .errors import InputError
from .types.images import RLE, SegmentationResponse

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

_PATH = "/v1/images/segmentations"

Points: TypeAlias = Sequence[Sequence[float]] | ArrayLike
SegmentPrompt: TypeAlias = str | Sequence[Points] | ArrayLike
PointLabels: TypeAlias = Sequence[Sequence[int] | ArrayLike | None] | ArrayLike
Boxes: TypeAlias = Sequence[Sequence[float] | ArrayLike | None] | ArrayLike
MaskPrompt: TypeAlias = Union[
    RLE, Mapping[str, Any], str, bytes, bytearray, memoryview, os.PathLike[str], "PILImage", ArrayLike, None
]
Labels: TypeAlias = Sequence[str | None]
MaskPrompts: TypeAlias = Sequence[MaskPrompt] | ArrayLike
ResponseFormat = Literal["b64_json", "rle", "polygons"]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class MalformedRequestError(InputError):
    """A request of ``segment_many`` that is not one."""


class SegmentRequest(TypedDict, total=False):
    """A request of ``segment_many``: arguments of `air.images.Images.segment` for one image.

    ``image`` is required, and ``segment_prompt`` unless boxes, mask prompts or ``automatic`` take its place. What all
    requests share can be passed to ``segment_many`` itself.
    """

    image: Required[ImageInput]
    segment_prompt: SegmentPrompt | None
    model: str
    timeout: float | None
    extra_headers: Mapping[str, str] | None
    extra_body: object | None
    point_labels: PointLabels | None
    boxes: Boxes | None
    mask_prompts: MaskPrompts | None
    labels: Labels | None
    automatic: bool | Mapping[str, Any] | None
    n: int | None
    size: str | tuple[int, int] | None
    exif: Exif | None
    response_format: ResponseFormat | None
    polygon_tolerance: float | None
    compose: bool | None
    merge_iou: float | None
    user: str | None


@dataclass(frozen=True)
class SegmentArguments:
    """The arguments of one ``segment`` call, as `air.images.Images.segment` describes them.

    Attributes:
        parameters: keyword arguments that are not among the others.
    """

    image: ImageInput = field(repr=False)
    segment_prompt: SegmentPrompt | None
    model: str
    timeout: float | None = None
    extra_headers: Mapping[str, str] | None = field(default=None, repr=False)
    extra_body: object | None = None
    point_labels: PointLabels | None = None
    boxes: Boxes | None = None
    mask_prompts: MaskPrompts | None = None
    labels: Labels | None = None
    automatic: bool | Mapping[str, Any] | None = None
    n: int | None = None
    size: str | tuple[int, int] | None = None
    exif: Exif | None = None
    response_format: ResponseFormat | None = None
    polygon_tolerance: float | None = None
    compose: bool | None = None
    merge_iou: float | None = None
    user: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_request(cls, request: Mapping[str, Any], defaults: Mapping[str, Any]) -> "SegmentArguments":
        """One request of ``segment_many``. Raises MalformedRequestError if it is not a mapping or incomplete."""
        if not isinstance(request, Mapping):
            raise MalformedRequestError(
                f"a request must be a mapping of segment()'s arguments, got {type(request).__name__}"
            )
        arguments = {**defaults, **request}
        known = {each.name for each in fields(cls)} - {"parameters"}
        parameters = {name: value for name, value in arguments.items() if name not in known}
        # What else describes the objects.
        if any(arguments.get(name) is not None for name in ("boxes", "mask_prompts", "automatic")):
            arguments.setdefault("segment_prompt", None)
        missing = [name for name in ("image", "segment_prompt", "model") if name not in arguments]
        if missing:
            unknown = f"; it has {', '.join(parameters)}" if parameters else ""
            raise MalformedRequestError(f"a request lacks {' and '.join(missing)}{unknown}")
        return cls(**{name: arguments[name] for name in known & arguments.keys()}, parameters=parameters)


def segmentation(config: Config, arguments: SegmentArguments) -> Flow[SegmentationResponse]:
    image, exif = arguments.image, arguments.exif
    prepared = isinstance(image, PreparedImage) or is_id(image)
    if prepared:
        _check_exif(image, exif)

    def request_fields() -> dict[str, Any]:
        made = _fields(arguments)
        if prepared:
            made.pop("exif", None)
        return made

    def call(body: Callable[[], Body]) -> Call[SegmentationResponse]:
        return Call("POST", _PATH, SegmentationResponse, body, arguments.extra_headers)

    if isinstance(image, PreparedImage):

        def checked_fields() -> dict[str, Any]:
            made = request_fields()
            json_body(made)  # fails before an image is uploaded for a request that cannot be sent
            return made

        made = yield checked_fields
        return (
            yield from with_prepared(
                config,
                image,
                arguments.model,
                arguments.extra_headers,
                lambda identifier: call(lambda: id_body(identifier, made)),
            )
        )
    if is_id(image):
        identifier = checked_id(image)
        return (yield from dispatch(call(lambda: id_body(identifier, request_fields()))))
    return (yield from dispatch(call(lambda: image_body(config.upload, image, exif, request_fields()))))


def _check_exif(image: object, exif: object) -> None:
    """A prepared image has its orientation from when it was prepared. Raises InputError for any other."""
    prepared_with = image.exif if isinstance(image, PreparedImage) else None
    if exif is not None and exif != prepared_with:
        known = "" if prepared_with is None else f", with exif={prepared_with!r}"
        raise InputError(f"image was prepared already{known}: exif={exif!r} belongs to images.prepare()")


def _fields(arguments: SegmentArguments) -> dict[str, Any]:
    """The request's JSON without the image; options that are None are left out. Raises InputError."""
    options = {
        "point_labels": numbers(arguments.point_labels, "point_labels"),
        "boxes": numbers(arguments.boxes, "boxes"),
        "mask_prompts": mask_prompts(arguments.mask_prompts),
        "labels": labels(arguments.labels),
        "automatic": dict(arguments.automatic) if isinstance(arguments.automatic, Mapping) else arguments.automatic,
        "n": arguments.n,
        "size": size(arguments.size),
        "exif": arguments.exif,
        "response_format": arguments.response_format,
        "polygon_tolerance": arguments.polygon_tolerance,
        "compose": arguments.compose,
        "merge_iou": arguments.merge_iou,
        "user": arguments.user,
    }
    return {
        "model": arguments.model,
        "segment_prompt": segment_prompt(arguments.segment_prompt),
        "extra_body": arguments.extra_body,
        **{name: value for name, value in options.items() if value is not None},
        **arguments.parameters,
    }


def numbers(value: object, where: str) -> Any:
    """Nested lists of numbers and None from nested lists, tuples and arrays.

    Raises:
        InputError: it contains something else, or a number that JSON cannot represent. Says where.
    """
    if value is None:
        return None
    if isinstance(value, int):
        return int(value)  # labels may be True and False
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{where} is {value}: a coordinate must be a finite number")
        return float(value)
    if hasattr(value, "tolist"):  # numpy's arrays and scalars, tensors
        return numbers(plain(value), where)
    if is_array(value):
        return numbers(value.__array__(), where)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        return [numbers(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise InputError(f"{where} must be a number or a list of them, got {type(value).__name__}")


def segment_prompt(value: SegmentPrompt | None) -> Any:
    """Text unchanged: the API types the prompt as str, and accepts JSON in it. None stays None."""
    return value if isinstance(value, str) else numbers(value, "segment_prompt")


def mask_prompts(masks: MaskPrompts | None) -> list[Any] | None:
    """For each object its mask as COCO RLE or base64 PNG, or None.

    Raises:
        InputError: one of them is not a mask. Says which.
        OSError: a file cannot be read.
        MissingExtraError: one is an array, and numpy or Pillow is not installed.
    """
    if masks is None:
        return None
    if isinstance(masks, str | bytes | Mapping) or not isinstance(masks, Iterable):
        raise InputError(f"mask_prompts must be a list with a mask or None per object, got {type(masks).__name__}")
    return [_mask_prompt(mask, f"mask_prompts[{index}]") for index, mask in enumerate(masks)]


def _mask_prompt(mask: object, where: str) -> Any:
    if mask is None or isinstance(mask, str):
        return mask
    if isinstance(mask, RLE):
        return mask.model_dump()
    if isinstance(mask, Mapping):
        counts = mask.get("counts")  # pycocotools returns bytes, which JSON does not have
        return {**mask, "counts": counts.decode("ascii")} if isinstance(counts, bytes) else dict(mask)
    if isinstance(mask, os.PathLike):
        mask = Path(mask).read_bytes()
    if isinstance(mask, bytes | bytearray | memoryview):
        data = bytes(mask)
        if data.startswith(_PNG_SIGNATURE):
            return encode_base64(data)
        if text := base64_in(data):
            return text
        raise InputError(f"{where} is not a PNG file")
    if is_pil_image(mask) or is_array(mask):
        try:
            return encode_base64(mask_png(mask))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    raise InputError(
        f"{where} must be COCO RLE, a base64 PNG, a PNG's bytes or path, a PIL image, an array or None; "
        f"got {type(mask).__name__}"
    )


def labels(value: Labels | None) -> list[str | None] | None:
    """For each object its name or None. Raises InputError."""
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InputError(f"labels must be a list with a text or None per object, got {type(value).__name__}")
    names = list(value)
    for index, name in enumerate(names):
        if not isinstance(name, str | None):
            raise InputError(f"labels[{index}] must be a text or None, got {type(name).__name__}")
    return names


def size(value: str | tuple[int, int] | None) -> str | None:
    """``(width, height)`` as "WxH"; text and None unchanged."""
    if value is None or isinstance(value, str):
        return value
    try:
        width, height = (int(side) for side in value)
    except (TypeError, ValueError):
        raise InputError(f'size must be "WIDTHxHEIGHT" or (width, height), got {value!r}') from None
    return f"{width}x{height}"
