"""Encoding in a process of its own: it takes what processors others leave, and when it crashes it crashes alone."""

import asyncio
import logging
import socket
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from maskery.engine import shared_memory
from maskery.engine.encoder import Encoded
from maskery.engine.errors import EncoderLost
from maskery.engine.threads import run_in
from maskery.logs import LogFormat
from maskery.segmentation import Exif, ImageLimits

# Seconds for a new process to come up and take the next image, which is how long clients are told to wait.
_COMES_UP = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncoderOptions:
    """All that the process needs to know; the models are loaded by it, not handed to it.

    Attributes:
        models: folder of the installed ones; None: the built-in ones only.
        max_model_bytes: as of `Registry`.
        precision: as of `Registry`.
        hq_token_only: as of `Registry`.
        image_limits: what an image may weigh.
        log_level, log_format: as of `maskery.logs.configure`.
    """

    models: Path | None
    max_model_bytes: int | None
    precision: str
    hq_token_only: bool
    image_limits: ImageLimits
    log_level: str
    log_format: LogFormat


@dataclass(frozen=True)
class Order:
    """An image to encode.

    Attributes:
        model: its own name, no alias.
        revision: that the embedding is wanted of.
        exif: as of `ImageFile`.
        image: the file's bytes.
        request_id: for the process' log.
    """

    model: str
    revision: str
    exif: Exif
    image: bytes
    request_id: str


class EncoderProcess:
    """The parent's end. Started with the first order, and again after it ended. For one event loop.

    Args:
        options: sent to each new process.
        time_limit: seconds for one image; a process that takes longer is taken for hung and ended.

    Attributes:
        restarts: since the start.
    """

    def __init__(self, options: EncoderOptions, time_limit: float) -> None:
        self._options = options
        self._time_limit = time_limit
        self._process: subprocess.Popen[bytes] | None = None
        self._link: Connection | None = None
        self._closed = False
        # One conversation at a time: the process encodes on all processors.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    async def start(self) -> None:
        """Have the process come up now rather than with the first order."""
        await run_in(self._thread, self._running)

    async def encode(self, order: Order) -> Encoded:
        """The embedding of one image.

        Raises:
            EncoderLost: the process ended in the middle of it; another one is being started.
            Exception: what encoding raised in the process.
        """
        answer = await run_in(self._thread, lambda: self._converse(order))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """End the process, in the middle of an image too: by now nobody waits for one."""
        self._closed = True
        self._kill()
        await asyncio.to_thread(self._thread.shutdown)
        # The thread may have been about to start another.
        self._kill()
        if self._process:
            await asyncio.to_thread(self._process.wait)
        if self._link:
            self._link.close()

    def _converse(self, order: Order) -> Encoded | Exception:
        try:
            try:
                return self._ask(order)
            except ConnectionError as error:
                if self._closed:
                    raise
                # That the connection is reset, not just ended, says that the order was not read: the process was
                # ending already, and the image has nothing to do with it.
                self._restart(error)
                return self._ask(order)
        except (EOFError, OSError) as error:
            if isinstance(error, BlockingIOError):
                error = TimeoutError(f"took or sent nothing for {self._time_limit:g} seconds")
            self._restart(error)
            raise EncoderLost("the process that encodes images ended while it worked on this one", _COMES_UP) from None

    def _ask(self, order: Order) -> Encoded | Exception:
        link = self._running()
        link.send(order)
        if not link.poll(self._time_limit):
            raise TimeoutError(f"did not answer within {self._time_limit:g} seconds")
        return shared_memory.receive(link)

    def _running(self) -> Connection:
        if self._link is None or self._process is None or self._process.poll() is not None:
            if self._process:
                self.restarts += 1
                _log.warning("the encoder had ended with status %s, starting another", self._process.poll())
            self._start()
        assert self._link  # noqa: S101 - made by `_start`
        return self._link

    def _start(self) -> None:
        if self._link:
            self._link.close()
        mine, its = socket.socketpair()
        # One that hangs does not read either, and an image is larger than what fits into a socket.
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            mine.setsockopt(socket.SOL_SOCKET, option, _timeval(self._time_limit))
        with its:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-P", "-m", "maskery.engine.encoder_worker", str(its.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
            )
        self._link = Connection(mine.detach())
        self._link.send(self._options)

    def _restart(self, error: Exception) -> None:
        """At once, so that the next image waits less."""
        if self._closed:
            return
        self._kill()
        self.restarts += 1
        status = self._process.wait() if self._process else None
        _log.error("the encoder was lost (%s, status %s), starting another", error or type(error).__name__, status)
        try:
            self._start()
        except OSError:
            _log.exception("another encoder could not be started; the next image tries again")

    def _kill(self) -> None:
        if self._process:
            self._process.kill()


def _timeval(seconds: float) -> bytes:
    """As the operating system takes it, for which zero means for ever."""
    microseconds = max(1, round(seconds * 1e6))
    return struct.pack("ll", *divmod(microseconds, 1_000_000))
