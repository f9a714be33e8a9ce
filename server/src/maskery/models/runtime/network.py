"""Runs ONNX graphs on a CPU with OpenVINO, compiled once per shape of their inputs."""

import hashlib
import logging
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

# OpenVINO's Python tools report their use to a server, and fork a process to do so, unless the package for it cannot
# be imported. This must come before them.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402
from filelock import FileLock  # noqa: E402

from maskery.models.compile_cache import compilations  # noqa: E402
from maskery.models.errors import StoreError  # noqa: E402

Precision = Literal["f32", "bf16"]
Arrays = Mapping[str, NDArray[Any]]

#: A graph that can be compiled.
Graph: TypeAlias = openvino.Model

_core = openvino.Core()
_log = logging.getLogger(__name__)


def best_precision() -> Precision:
    """bf16 if the processor computes in it, else f32."""
    return "bf16" if "BF16" in _core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def multiplies_int8(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has instructions for products of 8-bit integers (VNNI, AMX); True where that is unknown.

    Without them int8 was measured to be no faster than f32.
    """
    try:
        flags = re.findall(r"^(?:flags|Features)\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE)
    except OSError:
        return True
    known = {"avx512_vnni", "avx_vnni", "amx_int8", "i8mm", "asimddp"}
    return not flags or not known.isdisjoint(flags[0].split())


def read_file(path: Path) -> Graph:
    """Read a graph in ONNX or in OpenVINO's own format.

    Raises:
        RuntimeError: OpenVINO cannot read it.
    """
    return _core.read_model(path)


def read_onnx(graph: bytes, weights: Arrays) -> Graph:
    """Read an ONNX graph whose weights are inputs, and turn these into constants.

    Neither ONNX nor OpenVINO read weights from outside the graph's own folder, and in the graph itself they would be
    copied and limited to 2 GB.

    Args:
        weights: float32, by name of the input. They are used where they are, so that a mapped file stays mapped.

    Raises:
        RuntimeError: OpenVINO cannot read the graph.
    """
    model = _core.read_model(graph)
    for parameter in model.get_parameters():
        array = weights.get(parameter.get_friendly_name())
        if array is not None:
            constant = openvino.op.Constant(array, shared_memory=True)
            constant.set_friendly_name(parameter.get_friendly_name())
            parameter.output(0).replace(constant.output(0))
            model.remove_parameter(parameter)
    model.validate_nodes_and_infer_types()
    return model


class Network:
    """A graph that can be run. Thread-safe; one call runs at a time, on all processors.

    The graph is read when it is first run, and compiled for each new shape of the inputs. Compiled shapes are kept,
    each with its own buffers, so callers give few different shapes.

    Args:
        read: reads the graph.
        precision: of matrix products, where the graph does not specify it.
        outputs: names of the outputs to return.
        weights: a file that `read` maps into memory. It must not change while the network is in use.
        half: inputs that are given as float16.
        dynamic: axes of inputs whose size does not need a new compilation.
        cache: folder where OpenVINO keeps compiled graphs; None: no cache.
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
    ) -> None:
        self._read = read
        self._outputs = tuple(outputs)
        self._weights, self._state = weights, _state(weights)
        self._half = tuple(half)
        self._dynamic = dict(dynamic or {})
        self._cache = cache and cache / _cache_key(precision)
        self._settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        self._graph: Graph | None = None
        self._requests: dict[tuple[tuple[str, tuple[int, ...]], ...], Future[openvino.InferRequest]] = {}
        self._reading, self._lock, self._running = (threading.Lock() for _ in range(3))

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Compute the outputs by name.

        Raises:
            StoreError: the weights have changed since the network was made.
            RuntimeError: OpenVINO cannot read or compile the graph.
        """
        request = self._request(tuple((name, self._shape(name, array)) for name, array in inputs.items()))
        with self._running:
            request.infer(dict(inputs), share_inputs=True)
            return {name: request.get_tensor(name).data.copy() for name in self._outputs}

    def _shape(self, name: str, array: NDArray[Any]) -> tuple[int, ...]:
        """With -1 for dynamic axes."""
        dynamic = self._dynamic.get(name, ())
        return tuple(-1 if axis in dynamic else size for axis, size in enumerate(array.shape))

    def _request(self, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> openvino.InferRequest:
        """The graph compiled for these shapes. Others can be run while one is compiled."""
        with self._lock:
            future = self._requests.get(shapes)
            is_first = future is None
            future = self._requests.setdefault(shapes, future or Future())
        if is_first:
            try:
                future.set_result(self._compile(shapes))
            except BaseException as error:
                with self._lock:
                    del self._requests[shapes]
                future.set_exception(error)
                raise
        return future.result()

    def _compile(self, shapes: Sequence[tuple[str, tuple[int, ...]]]) -> openvino.InferRequest:
        state = _state(self._weights)
        # Reading a mapped file that has shrunk ends the process. One that was deleted or replaced is still mapped.
        if state and self._state and state[0] == self._state[0] and state != self._state:
            raise StoreError(f"{self._weights} changed while its model was in use: install the model again")
        with self._reading:
            self._graph = self._graph or self._read()
            graph = self._graph.clone()
        graph.reshape({name: list(shape) for name, shape in shapes})
        if self._half:
            steps = openvino.preprocess.PrePostProcessor(graph)
            for name in self._half:
                steps.input(name).tensor().set_element_type(openvino.Type.f16)
            graph = steps.build()
        compilations.add()
        return self._compile_cached(graph, shapes).create_infer_request()

    def _compile_cached(self, graph: Graph, shapes: Sequence[tuple[str, tuple[int, ...]]]) -> openvino.CompiledModel:
        if self._cache:
            try:
                self._cache.mkdir(parents=True, exist_ok=True)
                # OpenVINO writes in place, and maps what it reads: no process may write what another has mapped.
                with FileLock(self._cache / f"{_digest(repr((self._outputs, shapes)))}.lock"):
                    return _core.compile_model(graph, "CPU", {**self._settings, "CACHE_DIR": str(self._cache)})
            except (OSError, RuntimeError) as error:
                _log.warning("the cache in %s cannot be used: %s", self._cache, error)
                self._cache = None
        return _core.compile_model(graph, "CPU", self._settings)


def _cache_key(precision: Precision) -> str:
    """Name of a folder for what was compiled with this precision on this processor.

    OpenVINO reads a network that was compiled for another precision, and computes nonsense with it.
    """
    device = [str(_core.get_property("CPU", name)) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
    return f"{precision}-{_digest(' '.join(device))}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
