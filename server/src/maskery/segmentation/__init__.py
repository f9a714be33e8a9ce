"""Images, prompts and masks: the core of the package. It depends on no web framework, database or particular model."""

from maskery.segmentation.automatic import AutomaticDefaults, AutomaticOptions, segment_everything
from maskery.segmentation.compose import MERGE_IOU
from maskery.segmentation.errors import (
    ImageError,
    ImageTooLarge,
    NotAnImage,
    PromptError,
    SegmentationError,
)
from maskery.segmentation.image import Exif, Image, ImageFile, ImageLimits, Size, digest, open_image
from maskery.segmentation.mask import Mask, Segment
from maskery.segmentation.model import Candidates, Decoding, Earlier, Embedding, Model
from maskery.segmentation.pillow import FILE_SUFFIXES, READABLE
from maskery.segmentation.png import to_png
from maskery.segmentation.prompt import ObjectPrompt, PromptLimits, parse_prompt
from maskery.segmentation.segmenter import Options, Segmentation, Usage, assemble, segment, segment_embedding
from maskery.segmentation.simplify import MAX_TOLERANCE

__all__ = [
    "FILE_SUFFIXES",
    "MAX_TOLERANCE",
    "MERGE_IOU",
    "READABLE",
    "AutomaticDefaults",
    "AutomaticOptions",
    "Candidates",
    "Decoding",
    "Earlier",
    "Embedding",
    "Exif",
    "Image",
    "ImageError",
    "ImageFile",
    "ImageLimits",
    "ImageTooLarge",
    "Mask",
    "Model",
    "NotAnImage",
    "ObjectPrompt",
    "Options",
    "PromptError",
    "PromptLimits",
    "Segment",
    "Segmentation",
    "SegmentationError",
    "Size",
    "Usage",
    "assemble",
    "digest",
    "open_image",
    "parse_prompt",
    "segment",
    "segment_embedding",
    "segment_everything",
    "to_png",
]
