"""Post-training quantization: an image encoder in 8-bit integers, calibrated on a user's own images."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskery.models.families import FAMILIES
from maskery.models.files import read_config
from maskery.models.runtime import open_backend
from maskery.models.sam.promptable import PromptableModel, quantized_encoder
from maskery.segmentation import Image, ObjectPrompt

Progress = Callable[[str, int, int | None], None]

#: Number of images that ranges are measured on; more change little.
MAX_IMAGES = 32

# Points along each side of an image at which the int8 form is compared with f32.
_CLICKS = 4


class MissingExtra(RuntimeError):  # noqa: N818 - the name states what was found
    """The package for quantization is not installed."""


def quantize(name: str, folder: Path, revision: str, images: Sequence[Image], progress: Progress) -> float:
    """Write the int8 form of the image encoder into the model's folder, and compare it with f32.

    Products with weights are quantized; products within attention are not, because their ranges vary with the image.

    Args:
        images: at least one; ranges are measured on the first `MAX_IMAGES`.

    Returns:
        Mean IoU of the best masks for a grid of points on the images, int8 against f32.

    Raises:
        MissingExtra: NNCF is not installed.
        UnsupportedModel, OSError: as of `PromptableModel`.
    """
    try:
        import nncf  # noqa: PLC0415
        import openvino  # noqa: PLC0415
        from openvino.passes import ConstantFolding, Manager  # noqa: PLC0415

        from maskery.models.runtime.openvino import read_model  # noqa: PLC0415
    except ImportError:
        raise MissingExtra('quantization needs NNCF: pip install "maskery[quantize]"') from None
    nncf.set_log_level(logging.ERROR)
    exact = _load(name, folder, revision, "f32")
    some = images[:MAX_IMAGES]
    graph = read_model(exact.graph("encode"))
    # Weights have the shape in which they are multiplied: NNCF scales their rows or columns.
    folding = Manager()
    folding.register_pass(ConstantFolding())
    folding.run_passes(graph)
    samples = ({"pixel_values": exact.processor.pixel_values(image)} for image in some)
    progress("measuring ranges", 0, None)
    quantized = nncf.quantize(
        graph,
        nncf.Dataset(list(samples)),
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(some),
        ignored_scope=nncf.IgnoredScope(names=_products_without_weights(graph)),
    )
    target = quantized_encoder(folder, revision)
    draft = target.with_name(f"draft-{os.getpid()}.xml")
    openvino.save_model(quantized, draft, compress_to_fp16=True)
    draft.with_suffix(".bin").replace(target.with_suffix(".bin"))
    draft.replace(target)
    return _agreement(exact, _load(name, folder, revision, "int8"), some, progress)


def _load(name: str, folder: Path, revision: str, precision: str) -> PromptableModel:
    model = FAMILIES[read_config(folder).architecture].load(
        name, folder, revision, precision, False, None, open_backend("cpu")
    )
    assert isinstance(model, PromptableModel)  # noqa: S101 - every family's
    return model


def _products_without_weights(graph: object) -> list[str]:
    return [
        node.get_friendly_name()
        for node in graph.get_ordered_ops()  # type: ignore[attr-defined]
        if node.get_type_name() == "MatMul"
        and not any(_is_constant(node.input_value(side).get_node()) for side in (0, 1))
    ]


def _is_constant(node: object) -> bool:
    kind = node.get_type_name()  # type: ignore[attr-defined]
    if kind in {"Transpose", "Reshape", "Convert"}:
        return _is_constant(node.input_value(0).get_node())  # type: ignore[attr-defined]
    return bool(kind == "Constant")


def _agreement(exact: PromptableModel, rough: PromptableModel, images: Sequence[Image], progress: Progress) -> float:
    shares = []
    for number, image in enumerate(images):
        progress("comparing with f32", number, len(images))
        steps = (np.arange(_CLICKS) + 0.5) / _CLICKS
        clicks = [ObjectPrompt(_point(image, x, y), np.ones(1, np.uint8)) for y in steps for x in steps]
        answers = zip(*(model.decode(model.encode(image), clicks) for model in (exact, rough)), strict=True)
        shares += [_iou(one.logits[0] > 0, other.logits[0] > 0) for one, other in answers]
    progress("comparing with f32", len(images), len(images))
    return float(np.mean(shares))


def _point(image: Image, x: float, y: float) -> NDArray[np.float32]:
    return np.array([[x * image.size.width, y * image.size.height]], np.float32)


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0
