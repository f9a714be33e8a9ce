"""Warm-up: models are loaded and compiled before the server is ready, so that the first requests do not wait for it."""

import asyncio
import logging
import math
import time
from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np

from maskery.api.container import Container
from maskery.engine import Engine, EngineError, NewImage, Upload
from maskery.models import ModelNotInstalled, StoreError
from maskery.segmentation import Embedding, Model, ObjectPrompt, Size, assemble, to_png

_log = logging.getLogger(__name__)

_SIDE = 64

# A network is compiled for these numbers of objects, and for a single point and other prompts. The points are fractions
# of the image's sides.
_POINTS = ((0.5, 0.5), (0.1, 0.1), (0.9, 0.9), (0.1, 0.9))
_OBJECT_COUNTS = (1, 2, 4)
_POINT_COUNTS = (1, 2)


async def warm_up(container: Container) -> None:
    """Warm up the models to preload, and set the server's state to ready, or to the failure."""
    engine, state = container.engine, container.state
    try:
        _log.info("networks run by %s", container.models.execution())
        for name in container.preload:
            started = time.monotonic()
            _log.info("loading %s", name)
            if engine.encoder.client and not container.models.is_built_in(name):
                # The encoder process starts while the model is loaded here.
                await asyncio.gather(engine.encoder.client.start(), engine.load(name))
            await warm_up_model(engine, name)
            _log.info("%s is loaded and compiled, after %.1f s", name, time.monotonic() - started)
    # Any failure is reported: the server must not stay in the state "starting".
    except Exception as error:  # noqa: BLE001
        expected = isinstance(error, (ModelNotInstalled, StoreError, EngineError))
        _log.error("cannot preload a model: %s", error, exc_info=None if expected else error)
        state.failure = error
        return
    if state.phase == "starting":
        state.phase = "ready"


async def warm_up_model(engine: Engine, name: str) -> None:
    """Load a model and run it on all shapes of images and prompts that it is compiled for.

    Raises:
        ModelNotInstalled, StoreError, Busy: see `Engine.segment`.
    """
    model = await engine.load(name)
    embeddings = [await _encode(engine, model, aspect_ratio) for aspect_ratio in model.warmup_aspect_ratios]
    await asyncio.gather(*(_decode(engine, model, embedding) for embedding in embeddings))


async def _encode(engine: Engine, model: Model, aspect_ratio: float) -> Embedding:
    upload = Upload(_image(engine.limits.image.max_pixels, aspect_ratio))
    image = NewImage(upload, engine.open(upload), engine.key(model, upload, account=""), keep=False)
    return (await engine.encoder.encode(model, image)).embedding


async def _decode(engine: Engine, model: Model, embedding: Embedding) -> None:
    # One after the other: prompts that wait at the same time would share a call.
    for objects in _prompts(embedding.size, model.max_batch):
        candidates, _ = await engine.decoder.decode(model, embedding, objects)
        await engine.run_in_thread(partial(assemble, candidates, embedding, objects))


def _image(max_pixels: int, aspect_ratio: float) -> bytes:
    """A PNG file of a light rectangle on a dark background.

    Args:
        aspect_ratio: width over height.
    """
    side = min(_SIDE, math.isqrt(max_pixels))
    height, width = (max(1, int(side * min(1.0, share))) for share in (1 / aspect_ratio, aspect_ratio))
    pixels = np.full((height, width), 96, np.uint8)
    pixels[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4] = 224
    return to_png(pixels)


def _prompts(size: Size, max_batch: int) -> Iterator[tuple[ObjectPrompt, ...]]:
    """A prompt of each shape."""
    for objects, points in product(_OBJECT_COUNTS, _POINT_COUNTS):
        if objects <= max_batch:
            clicks = [[point, *_POINTS][:points] for point in _POINTS[:objects]]
            yield tuple(ObjectPrompt(np.array(each, np.float32) * size, np.ones(points, np.uint8)) for each in clicks)
