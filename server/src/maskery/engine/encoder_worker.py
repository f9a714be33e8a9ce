"""What runs in the encoder's process: orders in, embeddings out, one at a time, until nobody is at the other end."""

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

from maskery import logs
from maskery.engine import shared_memory
from maskery.engine.encoder import Encoded, encode_file
from maskery.engine.encoder_client import EncoderOptions, Order
from maskery.engine.errors import Busy
from maskery.models import ModelNotInstalled, Registry, Store
from maskery.segmentation import ImageFile, Model

# The weakest claim on the processors that there is: a click never waits for a new image.
_NICENESS = 19

# Where memory runs out, the kernel shall end this process and not the one that holds the connections; 1000 is most.
_OUT_OF_MEMORY_SCORE = 500

_log = logging.getLogger(__name__)


def main(handle: int) -> None:
    """Serve the orders that come through a socket.

    Args:
        handle: of the socket.
    """
    # Signals to the whole group, from a terminal or a service manager, are for the parent: it lets requests finish.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OUT_OF_MEMORY_SCORE))
    link = Connection(handle)
    threading.Thread(target=_end_with_parent, args=[handle], daemon=True).start()
    # The end of the stream is how the parent's end, whatever its cause, is seen here.
    with contextlib.suppress(EOFError, OSError):
        options: EncoderOptions = link.recv()
        logs.configure(options.log_level, options.log_format)
        store = Store(options.models) if options.models else None
        models = Registry({}, store, options.max_model_bytes, options.precision, options.hq_token_only)
        while True:
            _serve(link, models, options)


def _end_with_parent(handle: int) -> None:
    """In the middle of an image too, which may take long and which nobody is going to fetch."""
    end = select.poll()
    # Nothing is asked for: that the other end is closed is always told.
    end.register(handle, 0)
    end.poll()
    os._exit(0)


def _serve(link: Connection, models: Registry, options: EncoderOptions) -> None:
    order: Order = link.recv()
    logs.request_id.set(order.request_id)
    try:
        answer: Encoded | Exception = _encode(models, order, options)
    # Whatever it is, the parent's request wants to know.
    except Exception as error:  # noqa: BLE001
        answer = error
    del order
    if isinstance(answer, Exception):
        link.send(_portable(answer))
    else:
        shared_memory.send(link, answer)


def _encode(models: Registry, order: Order, options: EncoderOptions) -> Encoded:
    try:
        model: Model | None = models.get(order.model)
    except ModelNotInstalled:
        model = None
    if model is None or model.revision != order.revision:
        raise Busy(f"model {order.model} was replaced or removed while an image waited for it", 1)
    return encode_file(model, ImageFile(order.image, order.exif, options.image_limits))


def _portable(error: Exception) -> Exception:
    """The exception, or one of its kind's name where it does not survive the way."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        return error
    # Its own methods run here.
    except Exception:  # noqa: BLE001
        _log.exception("cannot hand this over", exc_info=error)
        return RuntimeError(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
