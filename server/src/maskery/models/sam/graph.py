"""Builds ONNX graphs node by node, with the weights as inputs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from maskery.models.sam.weights import Weights

#: Gelu needs opset 20, layer normalisation 17.
OPSET = 20
_IR_VERSION = 10

#: The name of a value in a graph.
Value = str


class GraphBuilder:
    """A graph under construction. Methods that add a value return its name.

    Args:
        weights: the network's tensors. Those that `weight` refers to become inputs of the graph.

    Attributes:
        weight_names: of these inputs.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.weight_names: dict[str, None] = {}
        self._count = 0
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Value] = {}

    def input(self, name: str, shape: Sequence[int | str]) -> Value:
        """Add a float32 input. A string in the shape is a size that is known only when the graph runs."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))
        return name

    def output(self, name: str, value: Value, shape: Sequence[int | str]) -> None:
        """Make a float32 value an output."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def weight(self, name: str) -> Value:
        """A tensor of the weights."""
        if name not in self.weight_names:
            self.weight_names[name] = None
            self.input(name, self.weights.tensors[name].shape)
        return name

    def array(self, name: str) -> NDArray[np.float32]:
        """A tensor of the weights as an array, for computing constants."""
        return self.weights.array(name)

    def constant(self, value: Any, dtype: type = np.float32) -> Value:
        """Add a constant. Equal constants are stored once."""
        array: NDArray[Any] = np.ascontiguousarray(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._count += 1
            self._constants[key] = f"constant_{self._count}"
            self._initializers.append(onnx.numpy_helper.from_array(array, self._constants[key]))
        return self._constants[key]

    def op(self, kind: str, *inputs: Value, **attributes: Any) -> Value:
        """Add a node with one output."""
        self._count += 1
        name = f"{kind}_{self._count}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def reshape(self, value: Value, *shape: int) -> Value:
        """0 keeps a size, -1 infers it."""
        return self.op("Reshape", value, self.constant(shape, np.int64))

    def transpose(self, value: Value, *order: int) -> Value:
        return self.op("Transpose", value, perm=list(order))

    def slice(self, value: Value, start: int, stop: int, axis: int = 0) -> Value:
        """Entries `start` to `stop` along an axis."""
        bounds = (self.constant([each], np.int64) for each in (start, stop, axis))
        return self.op("Slice", value, *bounds)

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        """Join values along an axis; a single one is returned as it is."""
        return self.op("Concat", *values, axis=axis) if len(values) > 1 else values[0]

    def gather(self, value: Value, indices: NDArray[np.int64], axis: int = 0) -> Value:
        return self.op("Gather", value, self.constant(indices, np.int64), axis=axis)

    def scan(
        self, values: Sequence[tuple[Value, Sequence[int]]], body: Callable[..., Value], shape: Sequence[int]
    ) -> Value:
        """Compute the same for each entry along the first axis, one entry after the other.

        The nodes exist once, however many entries there are: that compiles faster, and takes less memory.

        Args:
            values: with as many entries each, and the shape of an entry.
            body: adds the nodes for an entry of each value, and returns the result. It uses no other values.
            shape: of the result for an entry.

        Returns:
            The results, joined along a new first axis.
        """
        outside = self._nodes, self._initializers, self._constants
        self._nodes, self._initializers, self._constants = [], [], {}
        names = [f"{value}_entry" for value, _ in values]
        result = body(*names)
        shapes = [*(each for _, each in values), shape]
        infos = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(each))
            for name, each in zip([*names, result], shapes, strict=True)
        ]
        graph = helper.make_graph(self._nodes, "body", infos[:-1], infos[-1:], self._initializers)
        self._nodes, self._initializers, self._constants = outside
        return self.op("Scan", *(value for value, _ in values), body=graph, num_scan_inputs=len(values))

    def linear_rows(self, value: Value, name: str) -> Value:
        """A `torch.nn.Linear` on a value with two axes.

        Unlike in `linear`, no node lies between the weight and the product, as quantizers expect.
        """
        return self.op("Gemm", value, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), transB=1)

    def linear(self, value: Value, name: str) -> Value:
        """A `torch.nn.Linear`."""
        product = self.op("MatMul", value, self.transpose(self.weight(f"{name}.weight"), 1, 0))
        return self.op("Add", product, self.weight(f"{name}.bias"))

    def layer_norm(self, value: Value, name: str, eps: float) -> Value:
        """A `torch.nn.LayerNorm` over the last axis."""
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.op("LayerNormalization", value, scale, bias, axis=-1, epsilon=eps)

    def build(self) -> bytes:
        """Serialize the graph."""
        graph = helper.make_graph(self._nodes, "graph", self._inputs, self._outputs, self._initializers)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION, producer_name="maskery"
        )
        serialized: bytes = model.SerializeToString()
        return serialized

    def weight_arrays(self) -> dict[str, NDArray[np.float32]]:
        """The inputs that are weights, by name."""
        return {name: self.weights.array(name) for name in self.weight_names}
