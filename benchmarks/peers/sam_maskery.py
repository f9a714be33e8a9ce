"""The Segment Anything family in Maskery, by the interface that the server uses."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# First, because it turns off OpenVINO's telemetry.
from maskery.models.runtime.openvino import read_model  # isort: skip
import openvino
from openvino import opset13 as ops
from openvino.passes import ConstantFolding, Manager

from benchmarks.peers.subject import Chain, best_rate, clicks, image
from maskery.models.families import FAMILIES
from maskery.models.files import read_config
from maskery.models.runtime import best_precision, open_backend
from maskery.models.sam.promptable import PromptableModel, quantized_encoder
from maskery.models.sam.quantize import quantize as quantize_model
from maskery.segmentation import Embedding

# Kinds of operation by OpenVINO's node type; all others move data.
_WORK = {
    "FullyConnected": "products with weights",
    "FullyConnectedQuantizedLegacy": "products with weights",
    "MatMul": "products of attention",
    "Convolution": "convolutions",
    "GroupConvolution": "convolutions",
    "ConvolutionBackpropData": "convolutions",
    "Deconvolution": "convolutions",
    "Softmax": "softmax",
    # Of all heads, one after the other.
    "TensorIterator": "global attention",
    **dict.fromkeys(("Subgraph", "Eltwise", "MulAdd", "MVN", "RMS", "Gelu"), "elementwise and norms"),
    **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceSum"), "elementwise and norms"),
}
_MOVING = "transposes and copies"

_REVISION = "benchmark"


class Engine:
    """See `child.Engine`."""

    def __init__(self, folder: Path, precision: str) -> None:
        self._folder = folder
        self._quantized = precision == "int8"
        # Of the parts that are not quantized, and of the matrix peak.
        self._precision = best_precision() if self._quantized else precision
        load = FAMILIES[read_config(folder).architecture].load
        model = load("maskery/benchmark", folder, _REVISION, precision, False, None, open_backend("cpu"))
        assert isinstance(model, PromptableModel)
        self._model = model
        self._side = model.processor.side
        self._image = image(self._side)
        self._embedding: Embedding | None = None

    def encode(self) -> None:
        self._embedding = self._model.encode(self._image)

    def decode(self, objects: int) -> None:
        assert self._embedding is not None
        self._model.decode(self._embedding, clicks(self._side, objects))

    def embedding(self, file: Path) -> None:
        assert self._embedding is not None
        np.save(file, self._embedding.arrays["embedding"][0].astype(np.float32))

    def quantize(self) -> float:
        """Quantize the model for int8 engines. Returns the mean IoU of its masks with f32."""
        return quantize_model("maskery/benchmark", self._folder, _REVISION, [self._image], lambda *_: None)

    def arithmetic(self, objects: int) -> float:
        model = self._graph("decode" if objects else "encode")
        manager = Manager()
        manager.register_pass(ConstantFolding())
        manager.run_passes(model)
        # Objects share nothing but the image, which belongs to `encode`.
        return sum(map(operations, model.get_ops())) * max(objects, 1)

    def peak(self) -> float:
        return best_rate(self._chain)

    def profile(self, graph: str) -> dict[str, float]:
        """Seconds of one run of ``encode``, or ``decode`` of one object, by the kind of work, longest first."""
        if self._quantized and graph == "encode":
            model = openvino.Core().read_model(quantized_encoder(self._folder, _REVISION))
        else:
            model = self._graph(graph)
        compiled = _compile(model, self._precision, {"PERF_COUNT": True})
        request = compiled.create_infer_request()
        random = np.random.default_rng(0)
        inputs = {each.any_name: random.standard_normal(tuple(each.shape), np.float32) for each in compiled.inputs}
        for _ in range(3):
            request.infer(inputs)
        # Attention that OpenVINO computes in one node, product by product, has the type of elementwise nodes.
        fused = {
            node.get_friendly_name()
            for node in compiled.get_runtime_model().get_ops()
            if _about(node, "layerType") == "Subgraph" and "Softmax" in _about(node, "originalLayersNames")
        }
        seconds: Counter[str] = Counter()
        for node in request.profiling_info:
            work = "attention, fused" if node.node_name in fused else _WORK.get(node.node_type, _MOVING)
            seconds[work] += node.real_time.total_seconds()
        return dict(seconds.most_common())

    def _graph(self, name: str) -> Any:
        """A graph with the sizes of a single click."""
        model = read_model(self._model.graph(name))
        if name == "decode":
            hidden = model.input("prompt").partial_shape[2].get_length()
            model.reshape({"prompt": [1, 2, hidden], "attn_mask": [1, 2]})
        return model

    def _chain(self, chain: Chain) -> Callable[[], object]:
        start, others = chain.matrices()
        value = source = ops.parameter(start.shape, np.float32)
        for each in others:
            value = ops.matmul(value, ops.constant(each), False, False)
        request = _compile(openvino.Model([value], [source], "chain"), self._precision).create_infer_request()
        return lambda: request.infer([start], share_inputs=True)


def operations(node: Any) -> float:
    """Operations of an OpenVINO node with static shapes: 2 × results × terms for a product, else 0."""
    kind = node.get_type_name()
    if kind == "TensorIterator":
        # The result of all iterations is that of one, as often as there are iterations.
        body = node.get_function()
        times = int(np.prod(node.output(0).get_shape())) // int(np.prod(body.get_results()[0].get_output_shape(0)))
        return times * sum(map(operations, body.get_ops()))
    if kind == "MatMul":
        left = node.input(0).get_shape()
        terms = left[-2 if node.get_attributes()["transpose_a"] else -1]
        return 2.0 * int(np.prod(node.output(0).get_shape())) * int(terms)
    if kind == "Convolution":
        return 2.0 * int(np.prod(node.output(0).get_shape())) * int(np.prod(node.input(1).get_shape()[1:]))
    if kind == "GroupConvolution":
        # The kernel is [groups, outputs, inputs, height, width].
        return 2.0 * int(np.prod(node.output(0).get_shape())) * int(np.prod(node.input(1).get_shape()[2:]))
    if kind == "ConvolutionBackpropData":
        # Each element of the input is multiplied by every element of the kernel.
        return 2.0 * int(np.prod(node.input(0).get_shape())) * int(np.prod(node.input(1).get_shape()[1:]))
    return 0.0


def _about(node: Any, what: str) -> str:
    """What OpenVINO says of a node of a compiled graph."""
    return str(node.get_rt_info()[what].value)


def _compile(model: Any, precision: str, more: dict[str, Any] | None = None) -> Any:
    """Compile with the settings of `maskery.models.runtime`."""
    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
    return openvino.Core().compile_model(model, "CPU", {**settings, **(more or {})})
