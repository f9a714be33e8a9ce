"""The architectures that an installed model can have: one table, by the `model_type` of its `config.json`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from maskery.models.runtime import Backend
from maskery.models.sam import weights as sam
from maskery.models.sam.config import SamConfig
from maskery.models.sam.weights import Shape
from maskery.models.sam2 import weights as sam2
from maskery.models.sam2.config import MODEL_TYPES, Sam2Config
from maskery.segmentation import Model

#: Makes a model of its name, folder, revision, precision, `hq_token_only`, the folder for compiled networks and the
#: backend.
Load = Callable[[str, Path, str, str, bool, Path | None, Backend], Model]


class NetworkConfig(Protocol):
    """The sizes of a network of any family."""

    @property
    def architecture(self) -> str:
        """The `model_type` of its `config.json`."""
        ...

    @property
    def image_size(self) -> int:
        """Side of the square input, in pixels."""
        ...


@dataclass(frozen=True)
class Family:
    """How models of some architectures are read.

    Attributes:
        parse: a network's sizes from the content of its `config.json`.
        shapes: of the tensors of a network of such sizes, by name.
        keep_aspect: how its images are prepared, see `Processor`.
        load: makes the model.
    """

    parse: Callable[[dict[str, Any]], NetworkConfig]
    shapes: Callable[[Any], Mapping[str, Shape]]
    keep_aspect: bool
    load: Load


def _load_sam(
    name: str,
    folder: Path,
    revision: str,
    precision: str,
    hq_token_only: bool,
    cache: Path | None,
    backend: Backend,
) -> Model:
    from maskery.models.sam.model import load  # noqa: PLC0415 - imports ONNX

    return load(name, folder, revision, precision, hq_token_only, cache, backend)


def _load_sam2(
    name: str,
    folder: Path,
    revision: str,
    precision: str,
    _hq_token_only: bool,
    cache: Path | None,
    backend: Backend,
) -> Model:
    from maskery.models.sam2.model import load  # noqa: PLC0415

    return load(name, folder, revision, precision, cache, backend)


_SAM = Family(SamConfig.parse, sam.expected_shapes, True, _load_sam)
_SAM2 = Family(Sam2Config.parse, sam2.expected_shapes, False, _load_sam2)

FAMILIES = {"sam": _SAM, "sam_hq": _SAM, **dict.fromkeys(MODEL_TYPES, _SAM2)}
