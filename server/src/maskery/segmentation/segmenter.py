"""An image and a prompt to masks: encode once, decode per prompt, compose."""

from collections.abc import Sequence
from dataclasses import dataclass

from maskery.segmentation.compose import MERGE_IOU, Layer, compose, keep_whole
from maskery.segmentation.image import Image, Size
from maskery.segmentation.mask import Mask
from maskery.segmentation.model import Candidates, Embedding, Model
from maskery.segmentation.prompt import ObjectPrompt


@dataclass(frozen=True)
class Options:
    """How the answer is put together.

    Attributes:
        n: readings of the prompt, best first; the j-th is made of every object's j-th candidate.
        size: of the masks; None is the image's own.
        compose: one categorical mask; else every object's whole mask, which may overlap.
        merge_iou: objects whose masks have at least this IoU become one segment; 1 turns that off.
    """

    n: int = 1
    size: Size | None = None
    compose: bool = True
    merge_iou: float = MERGE_IOU


@dataclass(frozen=True)
class Usage:
    """What an answer took.

    Attributes:
        image_tokens: patches that the encoder saw, also when the image was known.
        point_tokens: points and box corners.
        output_tokens: masks decoded, candidates × objects.
    """

    image_tokens: int
    point_tokens: int
    output_tokens: int


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The answer: one mask per reading asked for, best first."""

    masks: tuple[Mask, ...]
    usage: Usage


def segment(
    model: Model, image: Image, objects: Sequence[ObjectPrompt], options: Options | None = None
) -> Segmentation:
    """Segment an image that is not known yet."""
    return segment_embedding(model, model.encode(image), objects, options)


def segment_embedding(
    model: Model, embedding: Embedding, objects: Sequence[ObjectPrompt], options: Options | None = None
) -> Segmentation:
    """Segment an image by what was kept of it."""
    return assemble(model.decode(embedding, objects), embedding, objects, options)


def assemble(
    candidates: Sequence[Candidates],
    embedding: Embedding,
    objects: Sequence[ObjectPrompt],
    options: Options | None = None,
) -> Segmentation:
    """What a model has decoded as the answer.

    Args:
        candidates: of each object, in order.
    """
    options = options or Options()
    size = options.size or embedding.size
    readings = ([_choose(each, reading) for each in candidates] for reading in range(options.n))
    masks = tuple(
        compose(layers, size, options.merge_iou) if options.compose else keep_whole(layers, size) for layers in readings
    )
    usage = Usage(
        image_tokens=embedding.tokens,
        point_tokens=sum(each.tokens for each in objects),
        output_tokens=sum(map(len, candidates)),
    )
    return Segmentation(masks, usage)


def _choose(candidates: Candidates, reading: int) -> Layer:
    # An object with fewer readings than were asked for keeps its last one.
    index = min(reading, len(candidates) - 1)
    return Layer(candidates.logits[index], candidates.extent, float(candidates.scores[index]))
