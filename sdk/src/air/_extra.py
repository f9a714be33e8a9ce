"""The optional dependencies numpy and Pillow, and what to say when they are missing."""

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import MissingExtraError


@contextmanager
def images_extra(purpose: str) -> Iterator[None]:
    """Around an import that needs numpy or Pillow: its failure tells how to install them."""
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(f'{purpose} needs numpy and Pillow: pip install "maskery-sdk[images]"') from error
