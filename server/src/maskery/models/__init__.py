"""What can be loaded, and how it runs."""

from pathlib import Path

from maskery.models.catalog import BUILT_IN, CATALOG, DEFAULT_MODEL, Entry
from maskery.models.errors import DownloadError, StoreError
from maskery.models.registry import Listing, ModelNotInstalled, Registry
from maskery.models.store import Card, Store
from maskery.segmentation import Model

__all__ = [
    "BUILT_IN",
    "CATALOG",
    "DEFAULT_MODEL",
    "Card",
    "DownloadError",
    "Entry",
    "Listing",
    "ModelNotInstalled",
    "Registry",
    "Store",
    "StoreError",
    "load",
]


def load(name: str, folder: Path | None = None, precision: str = "auto") -> Model:
    """An installed model, on its own.

    Args:
        folder: where models are installed; None: the built-in ones only.
        precision: auto, f32, bf16 or int8, for models that can choose.

    Raises:
        ModelNotInstalled: with what is installed, and how to install what is not.
        StoreError: it is installed and cannot be loaded.
    """
    return Registry(store=Store(folder) if folder else None, precision=precision).get(name)
