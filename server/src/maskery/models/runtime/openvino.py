"""OpenVINO, on the CPU or on a GPU of Intel."""

import hashlib
import logging
import mmap
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino
from filelock import FileLock
from numpy.typing import NDArray

from maskery.models.errors import DeviceError
from maskery.models.runtime.backend import Arrays, Graph, Options, Precision, Run, Shapes

_core = openvino.Core()
_log = logging.getLogger(__name__)


def read_model(graph: Graph) -> openvino.Model:
    """A graph as OpenVINO reads it, with its weights as constants.

    Raises:
        RuntimeError: OpenVINO cannot read it.
    """
    model = _core.read_model(graph.model)
    for parameter in model.get_parameters():
        array = graph.weights.get(parameter.get_friendly_name())
        if array is not None:
            constant = openvino.op.Constant(array, shared_memory=True)
            constant.set_friendly_name(parameter.get_friendly_name())
            parameter.output(0).replace(constant.output(0))
            model.remove_parameter(parameter)
    model.validate_nodes_and_infer_types()
    return model


class OpenVino:
    """The backend.

    Args:
        device: cpu or gpu.

    Raises:
        DeviceError: the device is not there.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self._name = device.upper()
        # A machine with several GPUs has GPU.0 and GPU.1; GPU is the first.
        found = sorted({name.partition(".")[0] for name in _core.available_devices})
        if self._name not in found:
            raise DeviceError(
                f"MASKERY_DEVICE={device}: OpenVINO finds no GPU of Intel with a driver here, only: {', '.join(found)}"
            )
        self.description = f"OpenVINO on {_core.get_property(self._name, 'FULL_DEVICE_NAME')}"

    @property
    def precisions(self) -> Mapping[str, Precision]:
        """On the CPU, bf16 where the processor computes in it; a GPU computes in f16."""
        if self.device == "gpu":
            return {"auto": "f16", "f32": "f32", "int8": "f16"}
        fast: Precision = "bf16" if "BF16" in _core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
        return {"auto": fast, "f32": "f32", "bf16": "bf16", "int8": fast}

    def read(self, graph: Graph, options: Options) -> "_Program":
        """Read a graph."""
        return _Program(read_model(graph), graph.weights, self._name, options)


class _Program:
    """A graph with its weights, compiled on each shape of its inputs anew: OpenVINO computes faster on known shapes."""

    def __init__(self, model: openvino.Model, weights: Arrays, device: str, options: Options) -> None:
        self._model, self._weights, self._device, self._options = model, weights, device, options
        self._cache = options.cache and options.cache / _cache_key(device, options.precision)
        self._cloning = threading.Lock()
        self._settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": options.precision,
            "PERFORMANCE_HINT": "LATENCY",
            **({"ENABLE_CPU_PINNING": False} if device == "CPU" else {}),
        }

    def compile(self, shapes: Shapes) -> Run:
        with self._cloning:
            model = self._model.clone()
        model.reshape({name: list(shape) for name, shape in shapes})
        if self._options.half:
            steps = openvino.preprocess.PrePostProcessor(model)
            for name in self._options.half:
                steps.input(name).tensor().set_element_type(openvino.Type.f16)
            model = steps.build()
        request = self._compile_cached(model, shapes).create_infer_request()
        _release(self._weights)

        def run(inputs: Arrays) -> dict[str, NDArray[Any]]:
            request.infer(dict(inputs), share_inputs=True)
            return {name: request.get_tensor(name).data.copy() for name in self._options.outputs}

        return run

    def _compile_cached(self, model: openvino.Model, shapes: Shapes) -> openvino.CompiledModel:
        if self._cache:
            try:
                self._cache.mkdir(parents=True, exist_ok=True)
                # OpenVINO writes in place, and maps what it reads: no process may write what another has mapped.
                with FileLock(self._cache / f"{_digest(repr((self._options.outputs, shapes)))}.lock"):
                    settings = {**self._settings, "CACHE_DIR": str(self._cache)}
                    return _core.compile_model(model, self._device, settings)
            except (OSError, RuntimeError) as error:
                _log.warning("the cache in %s cannot be used: %s", self._cache, error)
                self._cache = None
        return _core.compile_model(model, self._device, self._settings)


def _release(arrays: Arrays) -> None:
    """Let go of the pages of mapped files. What is still needed of them is read again; compiled networks hold the
    weights in a form of their own.
    """
    for array in arrays.values():
        if isinstance(array.base, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
            array.base._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


def _cache_key(device: str, precision: Precision) -> str:
    """Name of a folder for what was compiled with this precision on this device.

    OpenVINO reads a network that was compiled for another precision, and computes nonsense with it.
    """
    known = [str(_core.get_property(device, name)) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
    return f"{precision}-{_digest(' '.join(known))}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
