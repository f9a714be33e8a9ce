"""What can be loaded, and how it runs."""

from maskery.models.catalog import CATALOG, DEFAULT_MODEL, Entry
from maskery.models.registry import ModelNotInstalled, Registry
from maskery.segmentation import Model

__all__ = ["CATALOG", "DEFAULT_MODEL", "Entry", "ModelNotInstalled", "Registry", "load"]


def load(name: str) -> Model:
    """An installed model, on its own.

    Raises:
        ModelNotInstalled: with what is installed, and how to install what is not.
    """
    return Registry().get(name)
