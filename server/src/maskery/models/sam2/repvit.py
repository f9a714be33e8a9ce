"""The RepViT backbone of EdgeTAM as part of an ONNX graph: pixel values to four feature maps.

Each depthwise convolution was trained as a sum of three branches (3 × 3, 1 × 1 and the identity), and every convolution
with a batch normalisation after it; both are one convolution here (Ding et al., RepVGG, CVPR 2021).
"""

import numpy as np
from numpy.typing import NDArray

from maskery.models.sam.graph import GraphBuilder, Value
from maskery.models.sam2.config import RepVitConfig

_ROOT = "vision_encoder.backbone.timm_model"

# timm's batch normalisation has PyTorch's default.
_EPS = 1e-5

Floats = NDArray[np.float64]


def repvit_features(
    graph: GraphBuilder, pixels: Value, config: RepVitConfig, image_size: int
) -> list[tuple[Value, NDArray[np.int64]]]:
    """Feature maps of the four stages, the finest first: tokens [cells, width], and their indices by rows."""
    value = _convolve(graph, pixels, _fused(graph, f"{_ROOT}.stem.conv1"), stride=2)
    value = _convolve(graph, graph.op("Gelu", value), _fused(graph, f"{_ROOT}.stem.conv2"), stride=2)
    features = []
    for stage, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
        name = f"{_ROOT}.stages_{stage}"
        if stage:
            before = config.widths[stage - 1]
            value = _block(graph, value, f"{name}.downsample.pre_block", before, squeeze=False)
            value = _convolve(graph, value, _fused(graph, f"{name}.downsample.spatial_downsample"), 2, before)
            value = _convolve(graph, value, _fused(graph, f"{name}.downsample.channel_downsample"))
            value = graph.op("Add", value, _mlp(graph, value, f"{name}.downsample.ffn"))
        for block in range(depth):
            value = _block(graph, value, f"{name}.blocks.{block}", width, squeeze=block % 2 == 0)
        cells = (image_size // 4 >> stage) ** 2
        # Channels last is how convolutions keep them, so this moves nothing.
        tokens = graph.reshape(graph.transpose(value, 0, 2, 3, 1), cells, width)
        features.append((tokens, np.arange(cells)))
    return features


def _block(graph: GraphBuilder, value: Value, name: str, width: int, squeeze: bool) -> Value:
    """A depthwise convolution, attention to channels, and an MLP beside the identity."""
    value = _convolve(graph, value, _mixer(graph, f"{name}.token_mixer"), groups=width)
    if squeeze:
        mean = graph.op("ReduceMean", value, graph.constant([2, 3], np.int64))
        inner = graph.op("Relu", _convolve(graph, mean, _plain(graph, f"{name}.se.fc1")))
        gate = graph.op("Sigmoid", _convolve(graph, inner, _plain(graph, f"{name}.se.fc2")))
        value = graph.op("Mul", value, gate)
    return graph.op("Add", value, _mlp(graph, value, f"{name}.channel_mixer"))


def _mlp(graph: GraphBuilder, value: Value, name: str) -> Value:
    inner = graph.op("Gelu", _convolve(graph, value, _fused(graph, f"{name}.conv1")))
    return _convolve(graph, inner, _fused(graph, f"{name}.conv2"))


def _convolve(
    graph: GraphBuilder, value: Value, layer: tuple[Floats, Floats], stride: int = 1, groups: int = 1
) -> Value:
    """A convolution whose padding keeps the size, or halves it with a stride of 2."""
    kernel, bias = layer
    return graph.op(
        "Conv",
        value,
        graph.constant(kernel),
        graph.constant(bias),
        strides=[stride] * 2,
        pads=[kernel.shape[-1] // 2] * 4,
        group=groups,
    )


def _plain(graph: GraphBuilder, name: str) -> tuple[Floats, Floats]:
    return graph.array(f"{name}.weight").astype(np.float64), graph.array(f"{name}.bias").astype(np.float64)


def _fused(graph: GraphBuilder, name: str) -> tuple[Floats, Floats]:
    """Kernel and bias of a convolution without bias and the batch normalisation after it."""
    kernel = graph.array(f"{name}.c.weight").astype(np.float64)
    weight, bias, mean, variance = (
        graph.array(f"{name}.bn.{part}").astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = weight / np.sqrt(variance + _EPS)
    return kernel * scale[:, None, None, None], bias - mean * scale


def _mixer(graph: GraphBuilder, name: str) -> tuple[Floats, Floats]:
    """The three branches of a depthwise convolution as one of 3 × 3."""
    kernel, bias = _fused(graph, f"{name}.conv")
    point, shift = _fused(graph, f"{name}.conv1")
    kernel[:, :, 1, 1] += point[:, :, 0, 0] + 1
    return kernel, bias + shift
