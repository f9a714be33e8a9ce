"""The architectures that an installed model can have: one table, by the `model_type` of its `config.json`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskery.models.sam import weights as sam
from maskery.models.sam.config import SamConfig, UnsupportedModel
from maskery.models.sam.processing import Processor
from maskery.models.sam.weights import Shape, Weights, check
from maskery.models.sam2 import weights as sam2
from maskery.models.sam2.config import HIERA_TYPES, REPVIT_TYPES, Sam2Config
from maskery.segmentation import Model

CONFIG, WEIGHTS = "config.json", "model.safetensors"

#: Makes a model of its name, folder, revision, precision, `hq_token_only` and the folder for compiled networks.
Load = Callable[[str, Path, str, str, bool, Path | None], Model]


def _load_sam(name: str, folder: Path, revision: str, precision: str, hq_token_only: bool, cache: Path | None) -> Model:
    from maskery.models.sam.model import load  # noqa: PLC0415 - imports ONNX and OpenVINO

    return load(name, folder, revision, precision, hq_token_only, cache)


def _load_sam2(name: str, folder: Path, revision: str, precision: str, _hq: bool, cache: Path | None) -> Model:
    from maskery.models.sam2.model import load  # noqa: PLC0415

    return load(name, folder, revision, precision, cache)


@dataclass(frozen=True)
class Family:
    """How models of some architectures are read.

    Attributes:
        read: reads a network's sizes from its `config.json`.
        shapes: expected tensors of a network of such sizes, by name.
        keep_aspect: how its images are prepared, see `Processor`.
        load: makes the model.
    """

    read: Callable[[Path], Any]
    shapes: Callable[[Any], Mapping[str, Shape]]
    keep_aspect: bool
    load: Load


_SAM = Family(SamConfig.read, sam.expected_shapes, True, _load_sam)
_SAM2 = Family(Sam2Config.read, sam2.expected_shapes, False, _load_sam2)

FAMILIES = {"sam": _SAM, "sam_hq": _SAM, **dict.fromkeys((*HIERA_TYPES, *REPVIT_TYPES), _SAM2)}


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model's folder, read and checked. The tensors are not in memory.

    Attributes:
        family: of the architecture.
        config: the network's sizes.
    """

    family: Family
    config: Any
    weights: Weights
    processor: Processor

    @classmethod
    def open(cls, folder: Path) -> "ModelFiles":
        """Read a folder in the format of transformers.

        Raises:
            UnsupportedModel: the folder does not contain a supported network.
            OSError: a file cannot be read.
        """
        family, config = read_config(folder)
        weights = Weights.open(folder / WEIGHTS)
        check(weights, family.shapes(config), config.architecture)
        return cls(family, config, weights, Processor.read(folder, config.image_size, family.keep_aspect))


def read_config(folder: Path) -> tuple[Family, Any]:
    """The family of a folder's model, and its sizes.

    Raises:
        UnsupportedModel: `config.json` does not describe a supported network.
        OSError: it cannot be read.
    """
    try:
        document = json.loads((folder / CONFIG).read_bytes())
    except (ValueError, RecursionError):
        raise UnsupportedModel(f"{CONFIG} is not JSON") from None
    kind = document.get("model_type") if isinstance(document, dict) else None
    family = FAMILIES.get(kind) if isinstance(kind, str) else None
    if family is None:
        raise UnsupportedModel(f"{CONFIG} names the model type {kind!r}; supported are {', '.join(sorted(FAMILIES))}")
    try:
        return family, family.read(folder / CONFIG)
    except (AttributeError, OverflowError, RecursionError):
        raise UnsupportedModel(f"{CONFIG} does not describe a network") from None
