"""The encoder process: reads requests from a socket and answers embeddings, one at a time, until the socket closes."""

import contextlib
import logging
import os
import pickle
import select
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from weakref import WeakSet

from maskery import logs
from maskery.engine import shared_memory
from maskery.engine.encoding import Encoded, EncodeRequest, EncoderOptions, encode_file
from maskery.engine.errors import Busy
from maskery.engine.job import ModelRegistry
from maskery.segmentation import ImageFile, Model, pillow

# The lowest priority: a click never waits for a new image.
_NICENESS = 19

# When memory runs out, the kernel ends this process rather than the one that holds the connections; the most is 1000.
_OUT_OF_MEMORY_SCORE = 500

_log = logging.getLogger(__name__)


def main(handle: int) -> None:
    """Serve requests.

    Args:
        handle: file descriptor of the socket.
    """
    # Terminals and service managers signal the whole process group. Only the parent reacts: it lets requests finish.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OUT_OF_MEMORY_SCORE))
    link = Connection(handle)
    threading.Thread(target=_exit_with_parent, args=[handle], daemon=True).start()
    # However the parent ends, the stream ends with it.
    with contextlib.suppress(EOFError, OSError):
        options: EncoderOptions = link.recv()
        logs.configure(options.log_level, options.log_format)
        pillow.silence()
        models = options.open_registry()
        compiled: WeakSet[Model] = WeakSet()
        while True:
            _serve(link, models, compiled, options)


def _exit_with_parent(handle: int) -> None:
    """Exit in the middle of an image, too: nothing waits for it any more."""
    end = select.poll()
    # Without any event asked for, poll still reports that the other end is closed.
    end.register(handle, 0)
    end.poll()
    os._exit(0)


def _serve(link: Connection, models: ModelRegistry, compiled: "WeakSet[Model]", options: EncoderOptions) -> None:
    """Answer one request with two messages: None when encoding begins, then the result; or with one exception.

    The first image of a model includes its compilation, which counts as loading: None is sent after it.

    Args:
        compiled: models that have encoded an image.
    """
    request: EncodeRequest = link.recv()
    logs.request_id.set(request.request_id)
    try:
        file = ImageFile(request.data, request.exif, options.image_limits)
        model = _load(models, request)
        is_compiled = model in compiled
        if is_compiled:
            link.send(None)
        answer: Encoded | Exception = encode_file(model, file)
        compiled.add(model)
        if not is_compiled:
            link.send(None)
    # Sent to the parent, which raises it there.
    except Exception as error:  # noqa: BLE001
        answer = error
    del request
    if isinstance(answer, Exception):
        link.send(_portable(answer))
    else:
        shared_memory.send(link, answer)


def _load(models: ModelRegistry, request: EncodeRequest) -> Model:
    try:
        model: Model | None = models.get(request.model)
    except LookupError:
        model = None
    if model is None or model.revision != request.revision:
        raise Busy(f"the model {request.model} was replaced or removed while the image was queued", 1)
    return model


def _portable(error: Exception) -> Exception:
    """The exception, or a RuntimeError with its name and message where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        return error
    # Pickling runs code of the exception's class.
    except Exception:  # noqa: BLE001
        _log.exception("an exception cannot be sent to the server process", exc_info=error)
        return RuntimeError(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
