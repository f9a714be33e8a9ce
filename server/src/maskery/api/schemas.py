"""What travels: the request's fields and the answers' shapes, as pydantic models."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

_POINT = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_GROUPS = {"type": "array", "minItems": 1, "items": {"type": ["array", "null"], "items": _POINT}}
_LABELS = {
    "type": ["array", "null"],
    "items": {"type": ["array", "null"], "items": {"type": "integer", "enum": [0, 1]}},
}

# Checked by `maskery.segmentation.parse_prompt`, which knows the picture's size; here only described.
Groups = Annotated[Any, WithJsonSchema({"anyOf": [_GROUPS, {"type": "string"}, {"type": "null"}]})]
Labels = Annotated[Any, WithJsonSchema(_LABELS)]


class SegmentationRequest(BaseModel):
    """A picture, and what is asked of it. Every option may stand here or inside `extra_body`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(description="Name of an installed model, as GET /v1/models lists them.")
    image_prompt: str = Field(
        description="The picture's file (JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF) in base64, bare or as a data: URL."
    )
    segment_prompt: Groups = Field(
        None,
        description="Per object a list of points [x, y] in pixels of the upright picture; the points of one list "
        "refine one object. May also be JSON text that holds the list.",
    )
    point_labels: Labels = Field(
        None, description="Per object and point 1 (on the object) or 0 (not on it); null: all 1."
    )
    extra_body: dict[str, Any] | None = Field(None, description="Options may stand in here as well.")
    merge_iou: float | None = Field(
        None, gt=0, le=1, description="Objects whose masks have at least this IoU become one segment; 1: never."
    )
    user: str | None = Field(None, max_length=256, description="Your end user, for the server's access log.")


class SegmentSchema(BaseModel):
    """What one value of the mask stands for."""

    value: int = Field(description="The value in the mask: 1-based place of the object in the prompt.")
    prompts: list[int] = Field(description="0-based places of all objects that turned out to be this segment.")
    score: float = Field(description="The model's prediction of the IoU with the object that was meant, 0 to 1.")
    area: int = Field(description="Pixels.")
    bbox: list[int] | None = Field(description="[x, y, width, height]; null where no pixel is left.")


class MaskSchema(BaseModel):
    """One mask."""

    b64_json: str | None = Field(description="The categorical mask as a PNG in base64; 0 is background.")
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
