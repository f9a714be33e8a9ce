"""Writing ONNX by hand: a graph under construction, with weights that stay in their safetensors file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from maskery.models.sam.weights import Weights

#: Gelu came with opset 20, layer normalisation with 17.
OPSET = 20
_IR_VERSION = 10

_ELEMENT_TYPES = {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16, "BF16": TensorProto.BFLOAT16}

#: The name of a value in a graph.
Value = str


class Graph:
    """A graph under construction; every method that makes a value returns its name.

    Args:
        weights: the tensors that `weight` refers to by their place in the file, so that no copy is made and no
            protobuf grows past its limit of 2 GB.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Value] = {}

    def input(self, name: str, kind: type, shape: Sequence[int | str]) -> Value:
        """An input; a text in its shape is a size that is known only when the graph runs."""
        self._inputs.append(helper.make_tensor_value_info(name, _element_type(kind), list(shape)))
        return name

    def output(self, name: str, value: Value, shape: Sequence[int | str]) -> None:
        """Have a value, of float32, answered under a name."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def weight(self, name: str) -> Value:
        """A tensor of the weights' file, as float32."""
        if name not in self._initializers:
            info = self.weights.tensors[name]
            tensor = TensorProto(name=name, dims=info.shape, data_type=_ELEMENT_TYPES[info.dtype])
            tensor.data_location = TensorProto.EXTERNAL
            place = {"location": self.weights.path.name, "offset": info.offset, "length": info.nbytes}
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
            self._initializers[name] = tensor
        if self.weights.tensors[name].dtype == "F32":
            return name
        return self.op("Cast", name, to=TensorProto.FLOAT)

    def array(self, name: str) -> NDArray[np.float32]:
        """A tensor of the weights' file to calculate with."""
        return self.weights.array(name)

    def constant(self, value: Any, kind: type = np.float32) -> Value:
        """Numbers that stand in the graph itself."""
        array: NDArray[Any] = np.ascontiguousarray(value, kind)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._initializers[name] = onnx.numpy_helper.from_array(array, name)
            self._constants[key] = name
        return self._constants[key]

    def op(self, kind: str, *inputs: Value, outputs: int = 1, **attributes: Any) -> Value:
        """One node with one output."""
        return self.ops(kind, *inputs, outputs=outputs, **attributes)[0]

    def ops(self, kind: str, *inputs: Value, outputs: int, **attributes: Any) -> list[Value]:
        """One node with several outputs."""
        names = [f"{kind}_{len(self._nodes)}_{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def reshape(self, value: Value, *shape: int) -> Value:
        """0 keeps a size, -1 is what is left."""
        return self.op("Reshape", value, self.constant(shape, np.int64))

    def transpose(self, value: Value, *order: int) -> Value:
        return self.op("Transpose", value, perm=list(order))

    def rows(self, value: Value, start: int, stop: int, axis: int = 0) -> Value:
        """Entries `start` to `stop` along an axis."""
        bounds = (self.constant([each], np.int64) for each in (start, stop, axis))
        return self.op("Slice", value, *bounds)

    def gather(self, value: Value, indices: NDArray[np.int64], axis: int = 0) -> Value:
        return self.op("Gather", value, self.constant(indices, np.int64), axis=axis)

    def linear_rows(self, value: Value, name: str) -> Value:
        """A `torch.nn.Linear` of the weights' file for a value of two axes.

        Unlike in `linear`, nothing stands between the weight and the product, which quantisers look for.
        """
        return self.op("Gemm", value, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), transB=1)

    def linear(self, value: Value, name: str) -> Value:
        """A `torch.nn.Linear` of the weights' file."""
        product = self.op("MatMul", value, self.transpose(self.weight(f"{name}.weight"), 1, 0))
        return self.op("Add", product, self.weight(f"{name}.bias"))

    def layer_norm(self, value: Value, name: str, eps: float) -> Value:
        """A `torch.nn.LayerNorm` of the weights' file, over the last axis."""
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.op("LayerNormalization", value, scale, bias, axis=-1, epsilon=eps)

    def save(self, path: Path) -> None:
        """Write the graph beside the weights' file, to which it refers by name."""
        graph = helper.make_graph(
            self._nodes, path.stem, self._inputs, self._outputs, list(self._initializers.values())
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION, producer_name="maskery"
        )
        path.write_bytes(model.SerializeToString())


def _element_type(kind: type) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(kind)))
