"""What the API answers: pydantic models that are also mappings.

``response["data"]``, ``"usage" in response``, ``response.keys()`` and ``dict(response)`` work; keys that this release
does not know are kept.
"""

from .base import Answer, Record
from .images import RLE, Mask, Segment, SegmentationResponse, Usage
from .models import Account, Model, ModelList, ModelPermission

__all__ = [
    "RLE",
    "Account",
    "Answer",
    "Mask",
    "Model",
    "ModelList",
    "ModelPermission",
    "Record",
    "Segment",
    "SegmentationResponse",
    "Usage",
]
