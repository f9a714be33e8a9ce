"""What travels: the request's fields and the answers' shapes, as pydantic models."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from maskery.segmentation import Exif

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

# Checked by `maskery.segmentation.parse_prompt`, which knows the image's size; here only described.
Groups = Annotated[Any, WithJsonSchema({"anyOf": [_GROUPS, {"type": "string"}, {"type": "null"}]})]
Labels = Annotated[Any, WithJsonSchema(_LABELS)]
Boxes = Annotated[Any, WithJsonSchema(_BOXES)]
Masks = Annotated[Any, WithJsonSchema(_MASKS)]

ResponseFormat = Literal["b64_json", "rle", "polygons"]


class SegmentationRequest(BaseModel):
    """An image, and what is asked of it. Every option may stand here or inside `extra_body`; null is its default."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(max_length=256, description="Name of an installed model, as GET /v1/models lists them.")
    image_prompt: str = Field(
        min_length=1,
        description="The image's file (JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF) in base64, bare or as a data: URL; "
        "or `id:` and the id of a prepared image.",
    )
    segment_prompt: Groups = Field(
        None,
        description="Per object a list of points [x, y] in pixels of the upright image; the points of one list "
        "refine one object. May also be JSON text that holds the list, or null where boxes or masks say it all.",
    )
    point_labels: Labels = Field(
        None, description="Per object and point 1 (on the object) or 0 (not on it); null: all 1."
    )
    boxes: Boxes = Field(None, description="Per object a box [x0, y0, x1, y1] around it, or null.")
    mask_prompts: Masks = Field(
        None, description="Per object a mask to start from, of the image's size: COCO RLE or base64 PNG, or null."
    )
    n: int | None = Field(
        None, ge=1, le=3, description="Readings of an ambiguous prompt (whole, part, sub-part), best first; default 1."
    )
    size: str | None = Field(
        None,
        pattern=r"^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$",
        description="WIDTHxHEIGHT of the answered mask; default the image's own. Coordinates are the image's all "
        "the same.",
    )
    exif: Exif | None = Field(
        None, description="Whether the image is turned as its EXIF orientation says; default apply."
    )
    response_format: ResponseFormat | None = Field(
        None, description="A PNG for all, or COCO RLE or polygons for each segment; default b64_json."
    )
    compose: bool | None = Field(
        None,
        description="false: every object's whole mask, which may overlap, as RLE or polygons; default true: one mask "
        "in which every pixel belongs to one object.",
    )
    merge_iou: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Objects whose masks have at least this IoU become one segment; 1: never; default 0.9.",
    )
    user: str | None = Field(None, max_length=256, description="Your end user, for the server's access log.")
    extra_body: dict[str, Any] | None = Field(None, description="Options may stand in here as well.")


def _is_none(value: object) -> bool:
    return value is None


class PreparationRequest(BaseModel):
    """An image to encode ahead."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(max_length=256, description="Name of an installed model, as GET /v1/models lists them.")
    image_prompt: str = Field(min_length=1, description="The image's file in base64, bare or as a data: URL.")
    exif: Exif | None = Field(
        None, description="Whether the image is turned as its EXIF orientation says; default apply."
    )
    user: str | None = Field(None, max_length=256, description="Your end user, for the server's access log.")


class PreparedSchema(BaseModel):
    """An image that is ready to be segmented."""

    id: str = Field(description="Stands for the image: `image_prompt` may be `id:` and this.")
    object: Literal["image"] = "image"
    created: int = Field(description="Unix time.")
    model: str = Field(description="That it was prepared for.")
    width: int = Field(description="Of the upright image, in pixels.")
    height: int = Field(description="Of the upright image, in pixels.")
    expires_in: float = Field(description="Seconds without use after which it is forgotten.")


class RleSchema(BaseModel):
    """COCO's compressed run-length encoding."""

    size: list[int] = Field(description="[height, width].")
    counts: str


class SegmentSchema(BaseModel):
    """What one value of the mask stands for."""

    value: int = Field(description="The value in the mask: 1-based place of the object in the prompt.")
    prompts: list[int] = Field(description="0-based places of all objects that turned out to be this segment.")
    score: float = Field(description="The model's prediction of the IoU with the object that was meant, 0 to 1.")
    area: int = Field(description="Pixels.")
    bbox: list[int] | None = Field(description="[x, y, width, height]; null where no pixel is left.")
    rle: RleSchema | None = Field(None, exclude_if=_is_none, description="With response_format rle.")
    polygons: list[list[list[list[int]]]] | None = Field(
        None,
        exclude_if=_is_none,
        description="With response_format polygons: for each part its rings of corners [x, y] along the pixels' edges, "
        "the outside first, then the holes.",
    )


class MaskSchema(BaseModel):
    """One mask."""

    b64_json: str | None = Field(
        description="The categorical mask as a PNG in base64, 0 is background; null with another response_format."
    )
    label: str | None = Field(description="Class of what was found; null for models that know no classes.")
    score: float | None = Field(description="Mean of the segments' scores, weighted by area.")
    width: int = Field(description="Of the mask, in pixels.")
    height: int = Field(description="Of the mask, in pixels.")
    segments: list[SegmentSchema] = Field(description="What the values stand for.")


class UsageSchema(BaseModel):
    """What the answer took."""

    input_tokens: int
    input_tokens_details: dict[str, int] = Field(
        description="`image_tokens`: patches the encoder saw, `point_tokens`: points and box corners."
    )
    output_tokens: int = Field(description="Masks decoded: candidates × objects.")
    total_tokens: int


class SegmentationResponse(BaseModel):
    """The masks, and what they took."""

    created: int = Field(description="Unix time.")
    data: list[MaskSchema]
    usage: UsageSchema


class PermissionSchema(BaseModel):
    """Part of a model's listing that strict clients look for."""

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
    """One model that can be asked for."""

    id: str
    created: int
    object: Literal["model"] = "model"
    owned_by: str
    root: str = Field(description="The model that answers; another one than `id` for an alias.")
    parent: str | None = None
    permission: list[PermissionSchema]


class ModelListSchema(BaseModel):
    """The models that can be asked for."""

    object: Literal["list"] = "list"
    data: list[ModelSchema]


class LimitsSchema(BaseModel):
    """The limits in force."""

    max_body_bytes: int = Field(description="Bytes of a request.")
    max_form_request_bytes: int = Field(description="Bytes of a form's field `request`.")
    max_image_bytes: int = Field(description="Bytes of an image's file.")
    max_image_pixels: int = Field(description="Pixels of an image, and of an answered mask.")
    max_objects: int = Field(description="Objects in one request.")
    max_points: int = Field(description="Points in one request, over all objects.")
    max_mask_prompt_pixels: int = Field(description="Pixels of all masks in one request's mask_prompts together.")
    max_json_depth: int = Field(description="Levels of nesting in a request.")
    max_json_values: int = Field(description="Values in a request.")
    default_timeout: float = Field(description="Seconds for a request that names no limit in x-request-timeout.")
    max_timeout: float = Field(description="Most seconds that x-request-timeout may allow.")
    image_formats: list[str] = Field(description="Formats that are read.")
