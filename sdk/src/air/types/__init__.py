"""What the API answers."""

from .images import (
    RLE,
    Account,
    Answer,
    Mask,
    Model,
    ModelList,
    Nothing,
    Segment,
    SegmentationResponse,
    Usage,
)

__all__ = [
    "RLE",
    "Account",
    "Answer",
    "Mask",
    "Model",
    "ModelList",
    "Nothing",
    "Segment",
    "SegmentationResponse",
    "Usage",
]
