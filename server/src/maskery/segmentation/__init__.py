"""The subject itself: pictures, prompts, masks. Knows no HTTP, no database and no particular model."""

from maskery.segmentation.compose import MERGE_IOU
from maskery.segmentation.errors import (
    NotAPicture,
    PictureError,
    PictureTooLarge,
    PromptError,
    SegmentationError,
)
from maskery.segmentation.image import READABLE, Exif, ImageLimits, Picture, PictureFile, Size, digest, open_picture
from maskery.segmentation.mask import Mask, Segment
from maskery.segmentation.model import Candidates, Embedding, Model
from maskery.segmentation.png import to_png
from maskery.segmentation.prompt import ObjectPrompt, PromptLimits, parse_prompt
from maskery.segmentation.segmenter import Options, Segmentation, Usage, assemble, segment, segment_embedding

__all__ = [
    "MERGE_IOU",
    "READABLE",
    "Candidates",
    "Embedding",
    "Exif",
    "ImageLimits",
    "Mask",
    "Model",
    "NotAPicture",
    "ObjectPrompt",
    "Options",
    "Picture",
    "PictureError",
    "PictureFile",
    "PictureTooLarge",
    "PromptError",
    "PromptLimits",
    "Segment",
    "Segmentation",
    "SegmentationError",
    "Size",
    "Usage",
    "assemble",
    "digest",
    "open_picture",
    "parse_prompt",
    "segment",
    "segment_embedding",
    "to_png",
]
