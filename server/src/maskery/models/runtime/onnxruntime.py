"""ONNX Runtime, on a GPU of NVIDIA or, to compare the backends, on the CPU."""

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import onnx
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import TensorProto, helper

from maskery.models.errors import DeviceError
from maskery.models.runtime.backend import Arrays, Graph, Options, Precision, Run, Shapes

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"

# Only errors: what a fallback warns of is raised here.
_LOG_ERRORS = 3

# Of the smallest graph, which shows whether there is a GPU: as of `GraphBuilder`.
_PROBE_OPSET, _PROBE_IR = 20, 10

onnxruntime.disable_telemetry_events()


class OnnxRuntime:
    """The backend.

    Args:
        device: cuda; onnxruntime for the CPU.

    Raises:
        DeviceError: the device is not there, or the installed package does not support it.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self._provider = _CUDA if device == "cuda" else _CPU
        self.description = f"ONNX Runtime {onnxruntime.__version__} on {'CUDA' if device == 'cuda' else 'the CPU'}"
        if device == "cuda":
            _find_cuda()

    @property
    def precisions(self) -> Mapping[str, Precision]:
        """On a GPU, tf32 unless f32 is asked for."""
        return {"auto": "tf32" if self.device == "cuda" else "f32", "f32": "f32"}

    def read(self, graph: Graph, options: Options) -> "_Program":
        """Read a graph.

        Raises:
            RuntimeError: it is in OpenVINO's own format, or ONNX Runtime cannot read it.
        """
        data = graph.model.read_bytes() if isinstance(graph.model, Path) else graph.model
        model = onnx.load_from_string(data)
        _make_constant(model, graph.weights)
        _accept_half(model, options.half)
        return _Program(self._session(model, graph.weights, options.precision), graph.weights, options.outputs)

    def _session(self, model: onnx.ModelProto, weights: Arrays, precision: Precision) -> onnxruntime.InferenceSession:
        settings = _session_options()
        settings.add_external_initializers(
            list(weights), [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        )
        return onnxruntime.InferenceSession(
            model.SerializeToString(), settings, providers=self._providers(precision), enable_fallback=0
        )

    def _providers(self, precision: Precision) -> list[Any]:
        if self._provider == _CPU:
            return [_CPU]
        cuda = {
            "use_tf32": str(int(precision == "tf32")),
            # The default tries every algorithm on each new shape, which takes seconds.
            "cudnn_conv_algo_search": "HEURISTIC",
            # The default doubles what it takes of the GPU's memory with each extension.
            "arena_extend_strategy": "kSameAsRequested",
        }
        # What CUDA has no kernel for runs on the CPU.
        return [(_CUDA, cuda), _CPU]


class _Program:
    """A session. It serves every shape: weights would be on the device once per session."""

    def __init__(self, session: onnxruntime.InferenceSession, weights: Arrays, outputs: tuple[str, ...]) -> None:
        self._session, self._outputs = session, outputs
        # On the CPU, the session may use them where they are.
        self._weights = weights

    def compile(self, _shapes: Shapes) -> Run:
        return self._run

    def _run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))


def _make_constant(model: onnx.ModelProto, weights: Arrays) -> None:
    """Turn the inputs that are weights into constants whose data lies elsewhere."""
    inputs = [each for each in model.graph.input if each.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for name, array in weights.items():
        tensor = model.graph.initializer.add(name=name, data_type=TensorProto.FLOAT, dims=array.shape)
        tensor.data_location = TensorProto.EXTERNAL
        # No such file is read: the arrays take its place.
        tensor.external_data.add(key="location", value="weights")


def _accept_half(model: onnx.ModelProto, names: tuple[str, ...]) -> None:
    """Make inputs float16, and convert them within the graph."""
    for each in model.graph.input:
        if each.name in names:
            each.type.tensor_type.elem_type = TensorProto.FLOAT16
    full = {name: f"{name}_f32" for name in names}
    for node in model.graph.node:
        node.input[:] = [full.get(name, name) for name in node.input]
    for name in names:
        model.graph.node.insert(0, helper.make_node("Cast", [name], [full[name]], to=TensorProto.FLOAT))


def _session_options() -> onnxruntime.SessionOptions:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = _LOG_ERRORS
    # Between two calls its threads would wait busily, and take the processors from the other networks.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return settings


def _find_cuda() -> None:
    """Run the smallest graph on the GPU.

    Raises:
        DeviceError: that is not possible.
    """
    if _CUDA not in onnxruntime.get_available_providers():
        raise DeviceError(
            "MASKERY_DEVICE=cuda: the installed ONNX Runtime has no support for CUDA: "
            'pip uninstall onnxruntime, then pip install --force-reinstall "maskery[cuda]"'
        )
    # CUDA's own libraries, which the extra installs as packages. What is missing is printed.
    with redirect_stdout(sys.stderr):
        onnxruntime.preload_dlls()
    value = helper.make_tensor_value_info("value", TensorProto.FLOAT, [1])
    result = helper.make_tensor_value_info("result", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Neg", ["value"], ["result"])], "probe", [value], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _PROBE_OPSET)], ir_version=_PROBE_IR)
    settings = _session_options()
    settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=[_CUDA], enable_fallback=0)
    # Its exceptions have no other class in common. The cause is in what it has written to standard error.
    except Exception:  # noqa: BLE001
        raise DeviceError(
            "MASKERY_DEVICE=cuda: ONNX Runtime cannot use a GPU here, only the CPU; `nvidia-smi` shows whether "
            "there is one, and the lines before this one what is missing"
        ) from None
