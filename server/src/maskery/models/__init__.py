"""Models: the catalog, the store of installed ones, and the registry that loads them."""

from pathlib import Path

from maskery.models.card import Card
from maskery.models.catalog import BUILT_IN, CATALOG, DEFAULT_MODEL, Entry
from maskery.models.compile_cache import CompileCache
from maskery.models.errors import DeviceError, DownloadError, StoreError
from maskery.models.registry import Listing, ModelMetrics, ModelNotInstalled, Registry
from maskery.models.store import Store
from maskery.segmentation import Model

__all__ = [
    "BUILT_IN",
    "CATALOG",
    "DEFAULT_MODEL",
    "Card",
    "CompileCache",
    "DeviceError",
    "DownloadError",
    "Entry",
    "Listing",
    "ModelMetrics",
    "ModelNotInstalled",
    "Registry",
    "Store",
    "StoreError",
    "load",
]


def load(name: str, folder: Path | None = None, precision: str = "auto", device: str = "auto") -> Model:
    """Load one model.

    Args:
        folder: of installed models; None: built-in models only.
        precision: auto, f32, bf16 or int8, for models that support several.
        device: that networks run on: auto, cpu, gpu, cuda or onnxruntime.

    Raises:
        ModelNotInstalled: the message says what is installed, and how to install a known model.
        StoreError: the model is installed but cannot be loaded.
        DeviceError: the device is not there, or does not support the precision.
    """
    return Registry(store=Store(folder) if folder else None, precision=precision, device=device).get(name)
