"""A graph that is compiled once per shape of its inputs, by any backend."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskery.models.compile_cache import compilations
from maskery.models.errors import StoreError
from maskery.models.runtime.backend import Arrays, Backend, Graph, Options, Precision, Program, Run, Shapes
from maskery.models.runtime.devices import open_backend


class Network:
    """A graph that can be run. Thread-safe; one call runs at a time, on the whole device.

    The graph is read when it is first run, and compiled for each new shape of the inputs. Compiled shapes are kept,
    each with its own buffers, so callers give few different shapes.

    Args:
        read: returns the graph.
        precision: of matrix products, where the graph does not specify it.
        outputs: names of the outputs to return.
        weights: a file that the graph maps into memory. It must not change while the network is in use.
        half: inputs that are given as float16.
        dynamic: axes of inputs whose size does not need a new compilation.
        cache: folder for compiled graphs; None: no cache.
        backend: that runs the graph; None: OpenVINO on the CPU.
    """

    def __init__(
        self,
        read: Callable[[], Graph],
        precision: Precision,
        outputs: Sequence[str],
        *,
        weights: Path | None = None,
        half: Sequence[str] = (),
        dynamic: Mapping[str, Sequence[int]] | None = None,
        cache: Path | None = None,
        backend: Backend | None = None,
    ) -> None:
        self._read = read
        self._backend = backend or open_backend("cpu")
        self._options = Options(precision, tuple(outputs), tuple(half), cache)
        self._weights, self._state = weights, _state(weights)
        self._dynamic = dict(dynamic or {})
        self._program: Program | None = None
        self._compiled: dict[Shapes, Future[Run]] = {}
        self._reading, self._lock, self._running = (threading.Lock() for _ in range(3))

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Compute the outputs by name.

        Raises:
            StoreError: the weights have changed since the network was made.
            RuntimeError: the backend cannot read or compile the graph.
        """
        run = self._compiled_for(tuple((name, self._shape(name, array)) for name, array in inputs.items()))
        with self._running:
            return run(inputs)

    def _shape(self, name: str, array: NDArray[Any]) -> tuple[int, ...]:
        """With -1 for dynamic axes."""
        dynamic = self._dynamic.get(name, ())
        return tuple(-1 if axis in dynamic else size for axis, size in enumerate(array.shape))

    def _compiled_for(self, shapes: Shapes) -> Run:
        """The graph compiled for these shapes. Others can be run while one is compiled."""
        with self._lock:
            future = self._compiled.get(shapes)
            is_first = future is None
            future = self._compiled.setdefault(shapes, future or Future())
        if is_first:
            try:
                future.set_result(self._compile(shapes))
            except BaseException as error:
                with self._lock:
                    del self._compiled[shapes]
                future.set_exception(error)
                raise
        return future.result()

    def _compile(self, shapes: Shapes) -> Run:
        state = _state(self._weights)
        # Reading a mapped file that has shrunk ends the process. One that was deleted or replaced is still mapped.
        if state and self._state and state[0] == self._state[0] and state != self._state:
            raise StoreError(f"{self._weights} changed while its model was in use: install the model again")
        with self._reading:
            self._program = self._program or self._backend.read(self._read(), self._options)
        compilations.add()
        return self._program.compile(shapes)


def _state(file: Path | None) -> tuple[int, int, int] | None:
    """Inode, size and time of the last change."""
    try:
        stat = file.stat() if file else None
    except OSError:
        return None
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns) if stat else None


def pad_rows(array: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """Repeat the array's first row until it has this number of rows."""
    missing = rows - len(array)
    return np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) if missing else array
