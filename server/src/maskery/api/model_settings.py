"""Builds the model registry and the limits from the settings; imports no web framework."""

from functools import partial

from maskery.models import CompileCache, Registry, Store
from maskery.segmentation import ImageLimits, PromptLimits
from maskery.settings import Settings


def make_registry(settings: Settings) -> Registry:
    """The models that the settings describe.

    Raises:
        ModelNotInstalled: an alias refers to a model that is not installed.
    """
    return registry_factory(settings)(settings.aliases)


def image_limits(settings: Settings) -> ImageLimits:
    """The limits on an image's file."""
    return ImageLimits(settings.max_image_bytes, settings.max_image_pixels)


def prompt_limits(settings: Settings) -> PromptLimits:
    """The limits on a prompt."""
    # A mask prompt takes one byte per pixel: four of them stay within the memory that the default allows per image.
    return PromptLimits(settings.max_objects, settings.max_points, 4 * settings.max_image_pixels)


def registry_factory(settings: Settings) -> "partial[Registry]":
    """Makes registries without aliases, also in the encoder process: it can be pickled."""
    return partial(
        Registry,
        store=Store(settings.models),
        max_model_bytes=settings.model_memory,
        precision=settings.precision,
        hq_token_only=settings.hq_token_only,
        cache=CompileCache(settings.compile_cache),
        device=settings.device,
    )
