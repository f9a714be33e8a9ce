"""Modules as ONNX graphs with half-precision weights."""

import copy
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)

_OPSET = 18

# Weights of fewer numbers stay as they are: biases, norms.
_SMALL = 512


def write(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    path: Path,
    names: Sequence[str],
    outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
) -> None:
    """Write a graph; `axes` names the axes of inputs and outputs that may change."""
    torch.onnx.export(
        module,
        inputs,
        path,
        input_names=list(names),
        output_names=list(outputs),
        dynamic_axes={name: dict(each) for name, each in axes.items()},
        opset_version=_OPSET,
        dynamo=False,
    )
    model = onnx.load(path)
    _halve(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _halve(model: onnx.ModelProto) -> None:
    """Weights in half precision, each followed by its way back to single."""
    graph = model.graph
    casts = []
    for weights in graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.dtype == np.float32 and values.size >= _SMALL:
            name = weights.name
            weights.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + ".half"))
            casts.append(helper.make_node("Cast", [name + ".half"], [name], name=name + ".cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def folded(network: Network) -> Network:
    """A copy without batch normalisation: it has become part of the convolutions before it."""
    network = copy.deepcopy(network).eval().float()
    for module in list(network.modules()):
        children = list(module.named_children())
        for (name, first), (norm_name, norm) in pairwise(children):
            if isinstance(first, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(first, norm))
                setattr(module, norm_name, nn.Identity())
    return network
