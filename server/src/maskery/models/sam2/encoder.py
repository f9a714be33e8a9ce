"""The image encoder as an ONNX graph: pixel values to the three maps that decoding needs.

What the decoder computes from the image alone is computed here, once: the projections of the two finer maps
(`conv_s0`, `conv_s1`), folded into those of the neck, and the embedding that stands for the memory of a video.

The finer maps stand in the order in which the decoder's upscaling makes their cells: the four cells of each coarser
cell one after the other, so that decoding adds them without moving either.
"""

import numpy as np
from numpy.typing import NDArray

from maskery.models.sam.graph import GraphBuilder, Value
from maskery.models.sam2.config import RepVitConfig, Sam2Config
from maskery.models.sam2.hiera import hiera_features, rows_of
from maskery.models.sam2.repvit import repvit_features

_NECK = "vision_encoder.neck.convs"


def build_encoder(graph: GraphBuilder, config: Sam2Config) -> None:
    """Inputs and outputs of the graph; `grid` is a sixteenth of the image's side, `channels` the decoder's width:

    - ``pixel_values`` float32 [1, 3, image_size, image_size], normalised;
    - ``embedding`` float32 [1, grid², channels], rows of the image one after the other;
    - ``fine`` float32 [1, 4 × grid², channels / 4] and ``finest`` float32 [1, 16 × grid², channels / 8], cells in
      `nested_order`.
    """
    grid, channels = config.grid, config.channels
    pixels = graph.input("pixel_values", (1, 3, config.image_size, config.image_size))
    if isinstance(config.backbone, RepVitConfig):
        features = repvit_features(graph, pixels, config.backbone, config.image_size)
    else:
        features = hiera_features(graph, pixels, config.backbone, config.image_size)
    (finest, finest_order), (fine, fine_order), (deep, deep_order), (deepest, deepest_order) = features
    # Each cell of the embedding and the cell of the coarsest map that covers it.
    cells = np.arange(grid**2).reshape(grid, grid)
    covering = np.arange((grid // 2) ** 2).reshape(grid // 2, grid // 2).repeat(2, axis=0).repeat(2, axis=1)
    lateral = graph.gather(_project(graph, deep, f"{_NECK}.1"), rows_of(deep_order, cells.ravel()))
    top_down = graph.gather(_project(graph, deepest, f"{_NECK}.0"), rows_of(deepest_order, covering.ravel()))
    memory = graph.reshape(graph.weight("no_memory_embedding"), 1, channels)
    embedding = graph.op("Add", graph.op("Add", lateral, top_down), memory)
    graph.output("embedding", graph.reshape(embedding, 1, grid**2, channels), (1, grid**2, channels))
    for name, tokens, order, depth, neck, head in (
        ("fine", fine, fine_order, 1, f"{_NECK}.2", "mask_decoder.conv_s1"),
        ("finest", finest, finest_order, 2, f"{_NECK}.3", "mask_decoder.conv_s0"),
    ):
        kernel, bias = _folded(graph, neck, head)
        projected = graph.op("Gemm", tokens, graph.constant(kernel), graph.constant(bias))
        nested = graph.gather(projected, rows_of(order, nested_order(grid, depth)))
        shape = (1, grid**2 * 4**depth, channels // 4 if depth == 1 else channels // 8)
        graph.output(name, graph.reshape(nested, *shape), shape)


def nested_order(grid: int, depth: int) -> NDArray[np.int64]:
    """Indices of the cells of a map of grid × 2^depth a side, in the order [grid, grid, 2, 2, …]."""
    side = grid * 2**depth
    places = np.arange(side * side).reshape(side, side)
    # [grid, 2, …, grid, 2, …] to [grid, grid, 2, 2, …].
    split = places.reshape(grid, *[2] * depth, grid, *[2] * depth)
    axes = [axis for pair in zip(range(depth + 1), range(depth + 1, 2 * depth + 2), strict=True) for axis in pair]
    return split.transpose(axes).ravel()


def _project(graph: GraphBuilder, tokens: Value, name: str) -> Value:
    """A convolution of one pixel, for tokens [n, width]."""
    weight, bias = graph.weight(f"{name}.weight"), graph.weight(f"{name}.bias")
    kernel = graph.reshape(weight, *graph.weights.tensors[weight].shape[:2])
    return graph.op("Gemm", tokens, kernel, bias, transB=1)


def _folded(graph: GraphBuilder, first: str, second: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Kernel [inputs, outputs] and bias of two convolutions of one pixel in sequence."""
    inner, outer = (graph.array(f"{name}.weight").astype(np.float64)[:, :, 0, 0] for name in (first, second))
    shift, bias = (graph.array(f"{name}.bias").astype(np.float64) for name in (first, second))
    return (outer @ inner).T.astype(np.float32), (outer @ shift + bias).astype(np.float32)
