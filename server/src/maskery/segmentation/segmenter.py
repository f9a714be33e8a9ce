"""An image and a prompt to masks: encode once, decode per prompt, compose."""

from collections.abc import Sequence
from dataclasses import dataclass

from maskery.segmentation.compose import MERGE_IOU, ObjectLogits, compose, compose_overlapping
from maskery.segmentation.image import Image, Size
from maskery.segmentation.mask import Mask
from maskery.segmentation.model import Candidates, Embedding, Model
from maskery.segmentation.prompt import ObjectPrompt


@dataclass(frozen=True)
class Options:
    """How candidates become masks.

    Attributes:
        n: number of masks, best first; mask j is composed of every object's candidate j.
        size: of the masks; None: the image's own.
        compose: one categorical mask; False: the whole mask of each object, which may overlap.
        merge_iou: objects whose masks have at least this IoU become one segment; 1 disables merging.
    """

    n: int = 1
    size: Size | None = None
    compose: bool = True
    merge_iou: float = MERGE_IOU


@dataclass(frozen=True)
class Usage:
    """Tokens of a segmentation.

    Attributes:
        image_tokens: image patches that the encoder saw, also where the embedding was cached.
        point_tokens: points and box corners.
        output_tokens: masks decoded, candidates × objects.
    """

    image_tokens: int
    point_tokens: int
    output_tokens: int


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The result: `Options.n` masks, best first."""

    masks: tuple[Mask, ...]
    usage: Usage


def segment(
    model: Model, image: Image, objects: Sequence[ObjectPrompt], options: Options | None = None
) -> Segmentation:
    """Encode an image and segment its objects."""
    return segment_embedding(model, model.encode(image), objects, options)


def segment_embedding(
    model: Model, embedding: Embedding, objects: Sequence[ObjectPrompt], options: Options | None = None
) -> Segmentation:
    """Segment the objects of an image that has been encoded."""
    return assemble(model.decode(embedding, objects), embedding, objects, options)


def assemble(
    candidates: Sequence[Candidates],
    embedding: Embedding,
    objects: Sequence[ObjectPrompt],
    options: Options | None = None,
) -> Segmentation:
    """Compose what a model has decoded.

    Args:
        candidates: of each object, in order.
    """
    options = options or Options()
    size = options.size or embedding.size
    names = [each.name for each in objects]
    chosen = (
        [_choose(each, rank, name) for each, name in zip(candidates, names, strict=True)] for rank in range(options.n)
    )
    masks = tuple(
        compose(each, size, options.merge_iou) if options.compose else compose_overlapping(each, size)
        for each in chosen
    )
    usage = Usage(
        image_tokens=embedding.tokens,
        point_tokens=sum(each.tokens for each in objects),
        output_tokens=sum(map(len, candidates)),
    )
    return Segmentation(masks, usage)


def _choose(candidates: Candidates, rank: int, label: str | None) -> ObjectLogits:
    # An object with fewer candidates than masks repeats its last one.
    index = min(rank, len(candidates) - 1)
    score = float(candidates.scores[index])
    return ObjectLogits(candidates.logits[index], candidates.extent, score, label, candidates.table)
