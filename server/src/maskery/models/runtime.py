"""One ONNX graph on a CPU, by OpenVINO, compiled for each shape of its inputs that comes along."""

import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# OpenVINO's Python tools report their use to a server, and fork a process to do so, unless the package that does it
# cannot be imported. This must come before them.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

from maskery.models.errors import StoreError  # noqa: E402

Precision = Literal["f32", "bf16"]
Arrays = Mapping[str, NDArray[Any]]

#: Compiled shapes kept, the least recently used dropped first. Each has its own copy of the repacked weights.
MAX_SHAPES = 8

_core = openvino.Core()


def best_precision() -> Precision:
    """bf16 where the processor computes in it, else f32."""
    return "bf16" if "BF16" in _core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


class Network:
    """A graph that can be run. Safe from several threads; one runs at a time, on all processors.

    Args:
        graph: an ONNX file, or OpenVINO's own form.
        precision: in which products of matrices are computed, where the graph leaves that open.
        outputs: names of what is answered.
        weights: the file that the graph refers to; it is mapped, not read, so it must stay as it is.
        half: inputs that are given as float16.

    Raises:
        RuntimeError: OpenVINO cannot read or compile it.
    """

    def __init__(
        self, graph: Path, precision: Precision, outputs: Sequence[str], weights: Path, half: Sequence[str] = ()
    ) -> None:
        self._graph = graph
        self._outputs = tuple(outputs)
        self._weights, self._seen = weights, _state(weights)
        self._half = tuple(half)
        self._settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        self._requests: OrderedDict[tuple[Any, ...], openvino.InferRequest] = OrderedDict()
        self._lock = threading.Lock()

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name."""
        shapes = tuple((name, array.shape) for name, array in inputs.items())
        with self._lock:
            request = self._requests.pop(shapes, None) or self._compile(shapes)
            self._requests[shapes] = request
            while len(self._requests) > MAX_SHAPES:
                self._requests.popitem(last=False)
            request.infer(dict(inputs), share_inputs=True)
            return {name: request.get_tensor(name).data.copy() for name in self._outputs}

    def _compile(self, shapes: Sequence[tuple[str, tuple[int, ...]]]) -> openvino.InferRequest:
        if _state(self._weights) != self._seen:
            raise StoreError(f"{self._weights} changed while its model was in use: install the model again")
        model = _core.read_model(self._graph)
        model.reshape({name: list(shape) for name, shape in shapes})
        if self._half:
            steps = openvino.preprocess.PrePostProcessor(model)
            for name in self._half:
                steps.input(name).tensor().set_element_type(openvino.Type.f16)
            model = steps.build()
        return _core.compile_model(model, "CPU", self._settings).create_infer_request()


def _state(file: Path) -> tuple[int, int] | None:
    """Size and time of a file's last change. Reading a mapped file that has shrunk ends the process."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def read_graph(path: Path) -> openvino.Model:
    """A graph that is to be changed rather than run."""
    return _core.read_model(path)


def pad_rows(array: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """The array with its first row repeated until it has that many."""
    missing = rows - len(array)
    return np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) if missing else array
