"""Everything in an image, against the steps of transformers' pipeline `mask-generation`."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from maskery.models.sam.model import load
from maskery.segmentation import AutomaticOptions, Embedding, Image, Model, Size
from maskery.segmentation.automatic import Search, batches
from maskery.segmentation.upscale import Region, UpscaledLogits
from parity.oracle import Oracle, small_config
from parity.smooth import write_smooth_model

# The network's input size, to which transformers upscales logits first, and the server does not.
SIZE = Size(128, 88)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("smooth")
    write_smooth_model(path, small_config("sam"))
    return path


def smooth_image() -> Image:
    coarse = np.random.default_rng(5).integers(0, 255, (4, 6, 3), np.uint8)
    return Image(cv2.resize(coarse, (SIZE.width, SIZE.height), interpolation=cv2.INTER_CUBIC).astype(np.uint8))


def ours(model: Model, embedding: Embedding, options: AutomaticOptions) -> list[np.ndarray]:
    """The chosen objects before they are layered, bool [height, width] each."""
    resolved = options.resolve(model)
    search = Search(embedding.size, resolved)
    for prompts in batches(resolved.grid(embedding.size), 32):
        search.add(prompts, model.decode(embedding, prompts))
    everywhere = Region(0, 0, SIZE.width, SIZE.height)
    masks = []
    for each in search.choose():
        [candidates] = model.decode(embedding, [each.prompt])
        masks.append(UpscaledLogits(candidates.logits_of(each.rank), candidates.extent, SIZE).mask(everywhere))
    return masks


@pytest.mark.parametrize(
    ("predicted_iou", "stability", "nms_iou"), [(0.48, 0.8, 0.9), (0.5, 0.6, 0.97), (0.5, 0.6, 1.0)]
)
def test_the_same_objects_are_chosen(folder: Path, predicted_iou: float, stability: float, nms_iou: float) -> None:
    model = load("a/b", folder, "r", "f32")
    image = smooth_image()
    options = AutomaticOptions(16, predicted_iou, stability, nms_iou, max_objects=9999)
    found = ours(model, model.encode(image), options)
    expected = Oracle(folder).everything(image, 16, predicted_iou, stability, nms_iou)
    print(f"{len(expected)} objects, the smallest of {min(int(each.sum()) for each in expected)} pixels")
    assert len(found) == len(expected) >= 4
    best = [max(iou(mask, other) for other in found) for mask in expected]
    assert np.mean(np.array(best) >= 0.99) >= 0.98


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.count_nonzero(first & second) / max(1, np.count_nonzero(first | second)))
