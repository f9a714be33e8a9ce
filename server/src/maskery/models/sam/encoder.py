"""The image encoder as an ONNX graph: pixel values to what decoding needs.

Tokens stand in the order of the attention windows, not of the image's rows: most layers attend within windows,
and everything else in a layer treats tokens one by one, so that only the few layers of global attention reorder
them. Windows at the right and lower edge reach over the image; their missing tokens are zero before the
projection to queries, keys and values, so after it they are its bias, and only keys and values need them.
"""

import numpy as np
from numpy.typing import NDArray

from maskery.models.sam.attention import attend_globally, attend_in_windows, window_order
from maskery.models.sam.config import SamConfig, VisionConfig
from maskery.models.sam.graph import Graph, Value


def write_encoder(graph: Graph, config: SamConfig) -> None:
    """Inputs and outputs of the graph:

    - ``pixel_values`` float32 [1, 3, image_size, image_size], normalised and padded with zeros;
    - ``embedding`` float32 [1, grid², channels], rows of the image one after the other;
    - ``hq_features`` float32 [1, channels / 8, 4 × grid, 4 × grid], for SAM-HQ only.
    """
    vision = config.vision
    order, windows = window_order(vision.grid, vision.window_size)
    back = np.argsort(order)
    pixels = graph.input("pixel_values", np.float32, (1, 3, vision.image_size, vision.image_size))
    tokens = _embed_patches(graph, pixels, vision, order)
    first_global: Value | None = None
    for layer in range(vision.layers):
        name = f"vision_encoder.layers.{layer}"
        normal = graph.layer_norm(tokens, f"{name}.layer_norm1", vision.eps)
        if layer in vision.global_layers:
            attended = graph.gather(attend_globally(graph, graph.gather(normal, back), f"{name}.attn", vision), order)
        else:
            attended = attend_in_windows(graph, normal, f"{name}.attn", vision, windows)
        tokens = graph.op("Add", tokens, graph.linear_rows(attended, f"{name}.attn.proj"))
        normal = graph.layer_norm(tokens, f"{name}.layer_norm2", vision.eps)
        inner = graph.op("Gelu", graph.linear_rows(normal, f"{name}.mlp.lin1"))
        tokens = graph.op("Add", tokens, graph.linear_rows(inner, f"{name}.mlp.lin2"))
        if first_global is None and layer in vision.global_layers:
            first_global = tokens
    image = graph.gather(tokens, back)
    embedding = _neck(graph, image, vision)
    channels, grid = vision.output_channels, vision.grid
    flat = graph.transpose(graph.reshape(embedding, 1, channels, grid * grid), 0, 2, 1)
    graph.output("embedding", flat, (1, grid * grid, channels))
    if config.is_hq and first_global is not None:
        features = _fuse_hq_features(graph, embedding, graph.gather(first_global, back), vision)
        graph.output("hq_features", features, (1, channels // 8, 4 * grid, 4 * grid))


def _embed_patches(graph: Graph, pixels: Value, vision: VisionConfig, order: NDArray[np.int64]) -> Value:
    name = "vision_encoder.patch_embed.projection"
    stride = [vision.patch_size, vision.patch_size]
    patches = graph.op("Conv", pixels, graph.weight(f"{name}.weight"), graph.weight(f"{name}.bias"), strides=stride)
    tokens = graph.transpose(graph.reshape(patches, vision.hidden_size, vision.grid**2), 1, 0)
    places = graph.reshape(graph.weight("vision_encoder.pos_embed"), vision.grid**2, vision.hidden_size)
    return graph.gather(graph.op("Add", tokens, places), order)


def _channel_norm(graph: Graph, value: Value, name: str, eps: float = 1e-6) -> Value:
    """Layer normalisation over the channels of [1, channels, height, width]."""
    return graph.transpose(graph.layer_norm(graph.transpose(value, 0, 2, 3, 1), name, eps), 0, 3, 1, 2)


def _neck(graph: Graph, tokens: Value, vision: VisionConfig) -> Value:
    """[grid², hidden] to [1, channels, grid, grid]."""
    grid, channels = vision.grid, vision.output_channels
    name = "vision_encoder.neck"
    kernel = graph.reshape(graph.weight(f"{name}.conv1.weight"), channels, vision.hidden_size)
    narrow = graph.op("MatMul", tokens, graph.transpose(kernel, 1, 0))
    normal = graph.layer_norm(narrow, f"{name}.layer_norm1", 1e-6)
    square = graph.reshape(graph.transpose(normal, 1, 0), 1, channels, grid, grid)
    smooth = graph.op("Conv", square, graph.weight(f"{name}.conv2.weight"), pads=[1, 1, 1, 1])
    return _channel_norm(graph, smooth, f"{name}.layer_norm2")


def _fuse_hq_features(graph: Graph, embedding: Value, early: Value, vision: VisionConfig) -> Value:
    """The embedding and the first global layer's tokens at four times the grid (SAM-HQ, section 3.2)."""
    grid = vision.grid
    square = graph.reshape(graph.transpose(early, 1, 0), 1, vision.hidden_size, grid, grid)
    branches = []
    for source, name, norm in (
        (embedding, "encoder_conv", "encoder_norm"),
        (square, "compress_vit_conv", "compress_vit_norm"),
    ):
        wide = _double(graph, source, f"mask_decoder.{name}1")
        wide = graph.op("Gelu", _channel_norm(graph, wide, f"mask_decoder.{norm}"))
        branches.append(_double(graph, wide, f"mask_decoder.{name}2"))
    return graph.op("Add", *branches)


def _double(graph: Graph, value: Value, name: str) -> Value:
    """A transposed convolution that doubles height and width."""
    weights = graph.weight(f"{name}.weight"), graph.weight(f"{name}.bias")
    return graph.op("ConvTranspose", value, *weights, strides=[2, 2])
