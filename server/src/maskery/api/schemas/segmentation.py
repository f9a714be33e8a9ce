"""Pydantic models of requests, responses, models and limits."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from maskery.segmentation import MAX_TOLERANCE, Exif, PromptLimits

_POINT = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_GROUPS = {"type": "array", "minItems": 1, "items": {"type": ["array", "null"], "items": _POINT}}
_LABELS = {
    "type": ["array", "null"],
    "items": {"type": ["array", "null"], "items": {"type": "integer", "enum": [0, 1]}},
}

_BOXES = {"type": ["array", "null"], "items": {"type": ["array", "null"], "items": {"type": "number"}}}
_RLE = {
    "type": "object",
    "properties": {
        "size": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
        "counts": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}]},
    },
    "required": ["size", "counts"],
}
_MASKS = {"type": ["array", "null"], "items": {"anyOf": [_RLE, {"type": "string"}, {"type": "null"}]}}

_NAMES = {"type": ["array", "null"], "items": {"type": ["string", "null"], "maxLength": PromptLimits.max_label}}

# Validated by `maskery.segmentation.parse_prompt`, once the image's size is known; here for the OpenAPI document.
Groups = Annotated[Any, WithJsonSchema({"anyOf": [_GROUPS, {"type": "string"}, {"type": "null"}]})]
Labels = Annotated[Any, WithJsonSchema(_LABELS)]
Boxes = Annotated[Any, WithJsonSchema(_BOXES)]
Masks = Annotated[Any, WithJsonSchema(_MASKS)]
Names = Annotated[Any, WithJsonSchema(_NAMES)]

_SIZE = r"^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$"


def _check_size(text: str) -> str:
    if re.fullmatch(_SIZE, text):
        return text
    if re.fullmatch("[1-9][0-9]*x[1-9][0-9]*", text):
        raise ValueError("a side has at most 99,999 pixels")
    raise ValueError("write WIDTHxHEIGHT in pixels, such as 640x480")


MaskSize = Annotated[str, AfterValidator(_check_size), WithJsonSchema({"type": "string", "pattern": _SIZE})]
ResponseFormat = Literal["b64_json", "rle", "polygons"]


class AutomaticSchema(BaseModel):
    """How everything in an image is found; null selects an option's default."""

    model_config = ConfigDict(extra="forbid", strict=True)

    points_per_side: int | None = Field(
        None, ge=1, le=64, description="Of the grid of points; default 32, for maskery/nano 16."
    )
    pred_iou_threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Candidates whose predicted IoU is not above this are left out; default 0.88, for "
        "maskery/nano 0.6.",
    )
    stability_threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Candidates whose stability is not above this are left out: the IoU of their masks at logits "
        "above 1 and above -1; default 0.95, for maskery/nano 0.65.",
    )
    nms_iou: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Of candidates whose bounding boxes have a larger IoU than this, the best is kept; default 0.7.",
    )
    min_area: int | None = Field(
        None,
        ge=0,
        le=1_000_000,
        description="In pixels of the mask. Visible parts, and holes, with fewer are removed; default 100.",
    )
    max_objects: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Objects at most, those with the highest predicted IoU; default 256, or the limit on objects if "
        "that is lower.",
    )


def _read_automatic(value: object) -> object:
    if isinstance(value, bool):
        return {} if value else None
    if value is not None and not isinstance(value, dict):
        raise ValueError("send true, or an object of options")
    return value


Automatic = Annotated[
    AutomaticSchema | None,
    BeforeValidator(_read_automatic),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, AutomaticSchema.model_json_schema(), {"type": "null"}]}),
]


class SegmentationRequest(BaseModel):
    """An image and a prompt. Options may also be sent inside `extra_body`; null selects an option's default."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(max_length=256, description="Name of an installed model, as GET /v1/models lists them.")
    image_prompt: str = Field(
        min_length=1,
        description="The image's file (JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF) in base64, bare or as a data: URL; "
        "or `id:` and the id of a prepared image.",
    )
    segment_prompt: Groups = Field(
        None,
        description="Per object, a list of points [x, y] in pixels of the upright image; the points of one list "
        "refine one object. Also accepted: the list as JSON text; null if boxes or mask prompts describe every object.",
    )
    point_labels: Labels = Field(
        None, description="Per object and point, 1 (on the object) or 0 (not on it); null: all 1."
    )
    boxes: Boxes = Field(None, description="Per object, a box [x0, y0, x1, y1] around it, or null.")
    mask_prompts: Masks = Field(
        None, description="Per object, a mask prompt of the image's size: COCO RLE or base64 PNG, or null."
    )
    labels: Names = Field(
        None, description="Per object, text that names it, or null; the response's segments carry it as their label."
    )
    automatic: Automatic = Field(
        None,
        description="true, or an object of options: segment everything in the image, without a prompt. Value 1 is the "
        "object with the largest visible area.",
    )
    n: int | None = Field(
        None,
        ge=1,
        le=3,
        description="Candidate masks of an ambiguous prompt (whole, part, sub-part), best first; default 1.",
    )
    size: MaskSize | None = Field(
        None,
        description="WIDTHxHEIGHT of the returned mask; default: the image's size. Does not affect coordinates.",
    )
    exif: Exif | None = Field(None, description="Whether to apply the image's EXIF orientation; default apply.")
    response_format: ResponseFormat | None = Field(
        None, description="One PNG, or COCO RLE or polygons per segment; default b64_json."
    )
    polygon_tolerance: float | None = Field(
        None,
        ge=0,
        le=MAX_TOLERANCE,
        description="With response_format polygons: how far simplified rings may lie from the exact ones, in pixels of "
        "the mask; default 0: exact.",
    )
    compose: bool | None = Field(
        None,
        description="true (default): one mask in which each pixel belongs to at most one object; false: every "
        "object's whole mask, which may overlap others, as RLE or polygons.",
    )
    merge_iou: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Objects whose masks have at least this IoU become one segment; 1: never; default 0.9.",
    )
    user: str | None = Field(None, max_length=256, description="An id of your end user, for the server's access log.")
    extra_body: dict[str, Any] | None = Field(None, description="Options may also be sent in this object.")


def _is_none(value: object) -> bool:
    return value is None


class PreparationRequest(BaseModel):
    """An image to encode in advance."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(max_length=256, description="Name of an installed model, as GET /v1/models lists them.")
    image_prompt: str = Field(min_length=1, description="The image's file in base64, bare or as a data: URL.")
    exif: Exif | None = Field(None, description="Whether to apply the image's EXIF orientation; default apply.")
    user: str | None = Field(None, max_length=256, description="An id of your end user, for the server's access log.")


class PreparedSchema(BaseModel):
    """A prepared image."""

    id: str = Field(description="Send `id:` followed by this id as `image_prompt`.")
    object: Literal["image"] = "image"
    created: int = Field(description="Unix time.")
    model: str = Field(description="The model that encoded the image.")
    width: int = Field(description="Of the upright image, in pixels.")
    height: int = Field(description="Of the upright image, in pixels.")
    expires_in: float = Field(description="Seconds until it expires, counted from its last use.")


class RleSchema(BaseModel):
    """COCO's compressed run-length encoding."""

    size: list[int] = Field(description="[height, width].")
    counts: str


class SegmentSchema(BaseModel):
    """One segment of the mask."""

    value: int = Field(description="Its value in the mask: the 1-based index of the object in the prompt.")
    prompts: list[int] = Field(
        description="0-based indices of all objects that were merged into this segment; empty with automatic."
    )
    label: str | None = Field(
        None, exclude_if=_is_none, description="The label of the object; of merged objects, the first that has one."
    )
    score: float = Field(description="The model's estimate of the mask's IoU with the intended object, 0 to 1.")
    area: int = Field(description="Pixels.")
    bbox: list[int] | None = Field(description="[x, y, width, height]; null if the segment has no pixels.")
    rle: RleSchema | None = Field(None, exclude_if=_is_none, description="With response_format rle.")
    polygons: list[list[list[list[int]]]] | None = Field(
        None,
        exclude_if=_is_none,
        description="With response_format polygons: per connected part, a list of rings of corners [x, y] along pixel "
        "edges, or simplified by polygon_tolerance; the outer ring first, then the holes.",
    )


class MaskSchema(BaseModel):
    """One mask."""

    b64_json: str | None = Field(
        description="The categorical mask as a PNG in base64, 0 is background; null with another response_format."
    )
    label: str | None = Field(description="The label of the only segment; null if there are several, or it has none.")
    score: float | None = Field(description="Mean of the segments' scores, weighted by area.")
    width: int = Field(description="Of the mask, in pixels.")
    height: int = Field(description="Of the mask, in pixels.")
    segments: list[SegmentSchema] = Field(description="One entry per segment.")


class UsageSchema(BaseModel):
    """Usage in tokens."""

    input_tokens: int
    input_tokens_details: dict[str, int] = Field(
        description="`image_tokens`: patches of the image; `point_tokens`: points and box corners."
    )
    output_tokens: int = Field(description="Masks decoded: candidates × objects.")
    total_tokens: int


class SegmentationResponse(BaseModel):
    """The masks and the usage."""

    created: int = Field(description="Unix time.")
    data: list[MaskSchema]
    usage: UsageSchema


class PermissionSchema(BaseModel):
    """A permission as OpenAI's API lists it; strict clients require it."""

    id: str
    object: Literal["model_permission"] = "model_permission"
    created: int
    allow_create_engine: bool = False
    allow_sampling: bool = True
    allow_logprobs: bool = False
    allow_search_indices: bool = False
    allow_view: bool = True
    allow_fine_tuning: bool = False
    organization: str = "*"
    group: str | None = None
    is_blocking: bool = False


class ModelSchema(BaseModel):
    """An available model."""

    id: str
    created: int
    object: Literal["model"] = "model"
    owned_by: str
    root: str = Field(description="The model that is used; differs from `id` for an alias.")
    parent: str | None = None
    permission: list[PermissionSchema]


class ModelListSchema(BaseModel):
    """The available models, on one page."""

    object: Literal["list"] = "list"
    data: list[ModelSchema]
    first_id: str
    last_id: str
    has_more: Literal[False] = False


class LimitsSchema(BaseModel):
    """The limits in force."""

    max_body_bytes: int = Field(description="Bytes of a request.")
    max_form_request_bytes: int = Field(description="Bytes of a form's field `request`.")
    max_image_bytes: int = Field(description="Bytes of an image's file.")
    max_image_pixels: int = Field(description="Pixels of an image and of a returned mask.")
    max_objects: int = Field(description="Objects in one request.")
    max_points: int = Field(description="Points in one request, over all objects.")
    max_label_characters: int = Field(description="Characters of one object's label.")
    max_mask_prompt_pixels: int = Field(description="Total pixels of one request's mask prompts.")
    max_json_depth: int = Field(description="Levels of nesting in a request.")
    max_json_values: int = Field(description="JSON values in a request.")
    default_timeout: float = Field(description="Seconds for a request without x-request-timeout.")
    max_timeout: float = Field(description="Upper limit of x-request-timeout, in seconds.")
    image_formats: list[str] = Field(description="Supported image formats.")
