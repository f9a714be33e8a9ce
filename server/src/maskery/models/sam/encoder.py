"""The image encoder as an ONNX graph.

Tokens are in the order of the attention windows, not of the image's rows. Most layers attend within windows, and all
other steps process tokens one by one, so only the few layers of global attention reorder them. Windows at the right and
lower edge extend beyond the image; their missing tokens are needed as keys and values only, where they equal the bias
of the projection.
"""

import numpy as np
from numpy.typing import NDArray

from maskery.models.sam.attention import global_attention, window_attention, window_order
from maskery.models.sam.config import SamConfig, VisionConfig
from maskery.models.sam.graph import GraphBuilder, Value


def build_encoder(graph: GraphBuilder, config: SamConfig) -> None:
    """Add the encoder's inputs, nodes and outputs.

    - ``pixel_values`` float32 [1, 3, image_size, image_size], normalized and padded with zeros;
    - ``embedding`` float32 [1, grid², channels], row by row;
    - ``hq_features`` float32 [1, channels / 8, 4 × grid, 4 × grid], for SAM-HQ only.
    """
    vision = config.vision
    order, windows = window_order(vision)
    inverse = np.argsort(order)
    pixels = graph.input("pixel_values", (1, 3, vision.image_size, vision.image_size))
    tokens = _embed_patches(graph, pixels, vision, order)  # [grid², D]
    first_global: Value | None = None
    for layer in range(vision.layers):
        name = f"vision_encoder.layers.{layer}"
        normed = graph.layer_norm(tokens, f"{name}.layer_norm1", vision.eps)
        if layer in vision.global_layers:
            attn_out = global_attention(graph, graph.gather(normed, inverse), f"{name}.attn", vision)
            attn_out = graph.gather(attn_out, order)
        else:
            attn_out = window_attention(graph, normed, f"{name}.attn", vision, windows)
        tokens = graph.op("Add", tokens, graph.linear_rows(attn_out, f"{name}.attn.proj"))
        normed = graph.layer_norm(tokens, f"{name}.layer_norm2", vision.eps)
        mlp_out = graph.op("Gelu", graph.linear_rows(normed, f"{name}.mlp.lin1"))
        tokens = graph.op("Add", tokens, graph.linear_rows(mlp_out, f"{name}.mlp.lin2"))
        if first_global is None and layer in vision.global_layers:
            first_global = tokens
    embedding = _neck(graph, graph.gather(tokens, inverse), vision)  # [1, channels, grid, grid]
    channels, grid = vision.output_channels, vision.grid
    flat = graph.transpose(graph.reshape(embedding, 1, channels, grid * grid), 0, 2, 1)
    graph.output("embedding", flat, (1, grid * grid, channels))
    if config.is_hq and first_global is not None:
        features = _hq_features(graph, embedding, graph.gather(first_global, inverse), vision)
        graph.output("hq_features", features, (1, channels // 8, 4 * grid, 4 * grid))


def _embed_patches(graph: GraphBuilder, pixels: Value, vision: VisionConfig, order: NDArray[np.int64]) -> Value:
    name = "vision_encoder.patch_embed.projection"
    stride = [vision.patch_size, vision.patch_size]
    patches = graph.op("Conv", pixels, graph.weight(f"{name}.weight"), graph.weight(f"{name}.bias"), strides=stride)
    tokens = graph.transpose(graph.reshape(patches, vision.hidden_size, vision.grid**2), 1, 0)  # [grid², D]
    pos_embed = graph.reshape(graph.weight("vision_encoder.pos_embed"), vision.grid**2, vision.hidden_size)
    return graph.gather(graph.op("Add", tokens, pos_embed), order)


def _layer_norm_2d(graph: GraphBuilder, value: Value, name: str, eps: float = 1e-6) -> Value:
    """Layer normalization over the channels of [1, channels, height, width]."""
    return graph.transpose(graph.layer_norm(graph.transpose(value, 0, 2, 3, 1), name, eps), 0, 3, 1, 2)


def _neck(graph: GraphBuilder, tokens: Value, vision: VisionConfig) -> Value:
    """[grid², D] to [1, channels, grid, grid]."""
    grid, channels = vision.grid, vision.output_channels
    name = "vision_encoder.neck"
    kernel = graph.reshape(graph.weight(f"{name}.conv1.weight"), channels, vision.hidden_size)
    value = graph.op("MatMul", tokens, graph.transpose(kernel, 1, 0))  # [grid², channels]
    value = graph.layer_norm(value, f"{name}.layer_norm1", 1e-6)
    value = graph.reshape(graph.transpose(value, 1, 0), 1, channels, grid, grid)
    value = graph.op("Conv", value, graph.weight(f"{name}.conv2.weight"), pads=[1, 1, 1, 1])
    return _layer_norm_2d(graph, value, f"{name}.layer_norm2")


def _hq_features(graph: GraphBuilder, embedding: Value, early: Value, vision: VisionConfig) -> Value:
    """The embedding and the first global layer's tokens, fused at four times the grid (SAM-HQ, section 3.2)."""
    early = graph.reshape(graph.transpose(early, 1, 0), 1, vision.hidden_size, vision.grid, vision.grid)
    branches = []
    for features, name, norm in (
        (embedding, "encoder_conv", "encoder_norm"),
        (early, "compress_vit_conv", "compress_vit_norm"),
    ):
        value = _upscale(graph, features, f"mask_decoder.{name}1")
        value = graph.op("Gelu", _layer_norm_2d(graph, value, f"mask_decoder.{norm}"))
        branches.append(_upscale(graph, value, f"mask_decoder.{name}2"))
    return graph.op("Add", *branches)


def _upscale(graph: GraphBuilder, value: Value, name: str) -> Value:
    """A transposed convolution that doubles height and width."""
    weights = graph.weight(f"{name}.weight"), graph.weight(f"{name}.bias")
    return graph.op("ConvTranspose", value, *weights, strides=[2, 2])
