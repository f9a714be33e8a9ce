"""Coming up: models are loaded and run once before the server says that it is ready."""

import logging
import time

from maskery.api.container import Container
from maskery.engine import EngineError
from maskery.models import ModelNotInstalled, StoreError

_log = logging.getLogger(__name__)


async def warm(container: Container) -> None:
    """Load what the settings name. A failure is kept where whoever runs the server finds it."""
    state = container.state
    later = []
    try:
        for name in container.preload:
            started = time.monotonic()
            later.append(await container.engine.warm(name))
            _log.info("%s is loaded and has run, after %.1f s", name, time.monotonic() - started)
    # Whatever it is, the server must not wait for it for ever.
    except Exception as error:  # noqa: BLE001
        expected = isinstance(error, (ModelNotInstalled, StoreError, EngineError))
        _log.error("a model that is to be loaded first cannot be: %s", error, exc_info=None if expected else error)
        state.failure = error
        return
    if state.phase == "starting":
        state.phase = "ready"
    try:
        for run in later:
            await run()
    # Whoever asks for such a shape of prompt is told.
    except Exception as error:  # noqa: BLE001
        _log.error("a model has run on one prompt, and cannot on another", exc_info=error)
