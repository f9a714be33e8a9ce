"""The encoder process, as the server process sees it: it is started, sent images, and restarted when it is lost."""

import asyncio
import logging
import socket
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

from maskery.engine import shared_memory
from maskery.engine.encoding import Encoded, EncodeRequest, EncoderOptions
from maskery.engine.errors import EncoderLost
from maskery.engine.threads import run_in_thread

# Seconds until a new process can encode the next image: what clients are told to wait.
_RESTART_SECONDS = 2

_log = logging.getLogger(__name__)


class EncoderClient:
    """Encodes images in a child process of low priority. For one event loop.

    The process starts with the first image. If it crashes, only the image that it encodes is affected.

    Args:
        options: configuration of the process.
        time_limit: seconds to encode one image, after which the process is restarted.
        load_limit: seconds to start the process, to load and compile a model, and to encode its first image, which are
            not part of `time_limit`: on a small machine they take minutes.

    Attributes:
        restarts: number of processes that replaced a lost one.
    """

    def __init__(self, options: EncoderOptions, time_limit: float, load_limit: float = 600.0) -> None:
        self._options = options
        self._time_limit = time_limit
        self._load_limit = load_limit
        self._process: subprocess.Popen[bytes] | None = None
        self._link: Connection | None = None
        self._closed = False
        # One image at a time: the process encodes on all processors.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Process id of the running process."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    async def start(self) -> None:
        """Start the process now instead of with the first image."""
        await run_in_thread(self._thread, self._running)

    async def encode(self, request: EncodeRequest) -> Encoded:
        """Encode an image.

        Raises:
            EncoderLost: the process ended or exceeded a time limit; it is restarted.
            Exception: what encoding raised in the process.
        """
        answer = await run_in_thread(self._thread, lambda: self._exchange(request))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """End the process, even while it encodes."""
        self._closed = True
        self._kill()
        await asyncio.to_thread(self._thread.shutdown)
        # The thread may have started another one.
        self._kill()
        if self._process:
            await asyncio.to_thread(self._process.wait)
        if self._link:
            self._link.close()

    def _exchange(self, request: EncodeRequest) -> Encoded | Exception:
        try:
            try:
                return self._ask(request)
            except ConnectionError as error:
                if self._closed:
                    raise
                # A reset, as opposed to the end of the stream, means that the request was not read: the process was
                # ending before, and the image is not the cause.
                self._restart(error)
                return self._ask(request)
        # Exceptions of the encoding itself are returned, not raised: whatever is raised here leaves the link in an
        # unknown state, and only a new process has a new link.
        except Exception as error:  # noqa: BLE001
            if isinstance(error, BlockingIOError):
                error = TimeoutError("the encoder process does not read or write")
            self._restart(error)
            reason = str(error) if isinstance(error, TimeoutError) else "the encoder process ended during this image"
            raise EncoderLost(reason, _RESTART_SECONDS) from None

    def _ask(self, request: EncodeRequest) -> Encoded | Exception:
        link = self._running()
        link.send(request)
        if not link.poll(self._load_limit):
            raise TimeoutError(f"the encoder process did not load the model within {self._load_limit:g} seconds")
        started = link.recv()
        if isinstance(started, Exception):
            return started
        if not link.poll(self._time_limit):
            raise TimeoutError(f"encoding took longer than {self._time_limit:g} seconds (MASKERY_ENCODE_TIMEOUT)")
        return shared_memory.receive(link)

    def _running(self) -> Connection:
        if self._link is None or self._process is None or self._process.poll() is not None:
            if self._process:
                _log.warning("the encoder process has ended with status %s, starting another", self._process.poll())
            self._start()
        assert self._link  # noqa: S101 - set by `_start`
        return self._link

    def _start(self) -> None:
        if self._link:
            self._link.close()
        mine, its = socket.socketpair()
        # A process that starts or hangs does not read, and an image is larger than the socket's buffer.
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(self._load_limit))
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(self._time_limit))
        with its:
            process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-P", "-m", "maskery.engine.encoder_worker", str(its.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
            )
        self.restarts += self._process is not None
        self._process = process
        self._link = Connection(mine.detach())
        self._link.send(self._options)

    def _restart(self, error: Exception) -> None:
        """Replace the process at once: the next image waits less."""
        if self._closed:
            return
        self._kill()
        status = self._process.wait() if self._process else None
        cause = str(error) or type(error).__name__
        _log.error("the encoder process was lost (%s, status %s), starting another", cause, status)
        try:
            self._start()
        except OSError:
            _log.exception("cannot start another encoder process; the next image tries again")

    def _kill(self) -> None:
        if self._process:
            self._process.kill()


def _timeval(seconds: float) -> bytes:
    """A `struct timeval`; zero would mean no limit."""
    microseconds = max(1, round(seconds * 1e6))
    return struct.pack("ll", *divmod(microseconds, 1_000_000))
