"""The Hiera backbone as part of an ONNX graph: pixel values to four feature maps.

Tokens stand in the order of the attention windows. Windows shrink with the grid when queries are pooled, so that the
order changes once, where the third stage takes up its own windows. Attention over the whole image has no positions, so
it can take tokens in any order.
"""

import numpy as np
from numpy.typing import NDArray

from maskery.models.sam.attention import Windows, pad_windows, window_order
from maskery.models.sam.graph import GraphBuilder, Value
from maskery.models.sam2.config import Block, HieraConfig

_ROOT = "vision_encoder.backbone"

# Scores of global attention that are computed in one node. OpenVINO keeps only some of them at a time.
_CHUNK_SCORES = 2**22


def hiera_features(
    graph: GraphBuilder, pixels: Value, config: HieraConfig, image_size: int
) -> list[tuple[Value, NDArray[np.int64]]]:
    """Feature maps of the four stages, the finest first: tokens [grid², width], and their indices by rows."""
    grid = image_size // config.patch_stride
    order, windows = window_order(grid, config.windows[0])
    tokens = _embed_patches(graph, pixels, config, grid)
    features = []
    for index, block in enumerate(config.blocks(image_size)):
        if block.window:
            wanted, windows = window_order(block.grid, block.window)
            tokens, order = _reorder(graph, tokens, order, wanted), wanted
        tokens = _block(graph, tokens, f"{_ROOT}.blocks.{index}", block, windows, config)
        if block.pools:
            order, _ = window_order(block.grid // 2, block.window // 2)
        if block.ends_stage:
            features.append((tokens, order))
    return features


def _reorder(graph: GraphBuilder, tokens: Value, order: NDArray[np.int64], wanted: NDArray[np.int64]) -> Value:
    if np.array_equal(order, wanted):
        return tokens
    return graph.gather(tokens, rows_of(order, wanted))


def rows_of(order: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows, of tokens in an order, that hold the wanted indices."""
    return np.argsort(order)[wanted]


def _embed_patches(graph: GraphBuilder, pixels: Value, config: HieraConfig, grid: int) -> Value:
    """[1, 3, side, side] to tokens [grid², width] in windows of the first stage, with their positions."""
    name = f"{_ROOT}.patch_embed.projection"
    width, side = config.widths[0], config.windows[0]
    patches = graph.op(
        "Conv",
        pixels,
        graph.weight(f"{name}.weight"),
        graph.weight(f"{name}.bias"),
        strides=[config.patch_stride] * 2,
        pads=[config.patch_padding] * 4,
    )  # [1, width, grid, grid]
    rows, columns = (graph.constant(_bicubic(size, grid)) for size in config.positions)
    background = graph.op("MatMul", rows, graph.weight(f"{_ROOT}.pos_embed"))  # [1, width, grid, columns]
    background = graph.op("MatMul", background, graph.transpose(columns, 1, 0))  # [1, width, grid, grid]
    repeats = graph.constant([1, 1, grid // side, grid // side], np.int64)
    positions = graph.op("Add", background, graph.op("Tile", graph.weight(f"{_ROOT}.pos_embed_window"), repeats))
    count = grid // side
    tokens = graph.reshape(graph.op("Add", patches, positions), width, count, side, count, side)
    return graph.reshape(graph.transpose(tokens, 1, 3, 2, 4, 0), grid * grid, width)


def _bicubic(size: int, grid: int) -> NDArray[np.float64]:
    """Weights [grid, size] of bicubic interpolation with half-pixel centres and a = -0.75, as in PyTorch.

    Keys, Cubic convolution interpolation for digital image processing, 1981; places beyond the border repeat it.
    """
    a = -0.75
    weights = np.zeros((grid, size))
    for row, centre in enumerate((np.arange(grid) + 0.5) * size / grid - 0.5):
        first = int(np.floor(centre)) - 1
        for place in range(first, first + 4):
            x = abs(centre - place)
            near = (a + 2) * x**3 - (a + 3) * x**2 + 1
            far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
            weights[row, min(max(place, 0), size - 1)] += near if x <= 1 else far
    return weights


def _block(
    graph: GraphBuilder, tokens: Value, name: str, block: Block, windows: list[Windows], config: HieraConfig
) -> Value:
    """[grid², width_in] to [grid², width], or to a quarter of the tokens where the block pools."""
    normal = graph.layer_norm(tokens, f"{name}.layer_norm1", config.eps)
    residual = tokens
    if block.width_in != block.width:
        residual = graph.linear_rows(normal, f"{name}.proj")
        if block.pools:
            pooled = [_pool(graph, _window(graph, residual, group, block.width), group) for group in windows]
            residual = graph.concat([graph.reshape(each, -1, block.width) for each in pooled], axis=0)
    qkv = graph.linear_rows(normal, f"{name}.attn.qkv")
    if block.window:
        parts = [_attend_in_group(graph, qkv, f"{name}.attn", block, group) for group in windows]
        attended = graph.concat(parts, axis=0)
    else:
        attended = _attend_globally(graph, qkv, block)
    tokens = graph.op("Add", residual, graph.linear_rows(attended, f"{name}.attn.proj"))
    normal = graph.layer_norm(tokens, f"{name}.layer_norm2", config.eps)
    inner = graph.op("Gelu", graph.linear_rows(normal, f"{name}.mlp.proj_in"))
    return graph.op("Add", tokens, graph.linear_rows(inner, f"{name}.mlp.proj_out"))


def _window(graph: GraphBuilder, tokens: Value, group: Windows, width: int) -> Value:
    """The tokens of a group of windows as [count, height, width of a window, width]."""
    return graph.reshape(graph.slice(tokens, group.start, group.stop), group.count, group.height, group.width, width)


def _pool(graph: GraphBuilder, value: Value, group: Windows) -> Value:
    """[count, height, width, channels] to [count, height / 2, width / 2, channels], the maximum of four."""
    height, width = group.height // 2, group.width // 2
    # With five axes; OpenVINO reduces six with code that is 20 times as slow.
    cells = graph.reshape(value, group.count * height, 2, width, 2, -1)
    pooled = graph.op("ReduceMax", cells, graph.constant([1, 3], np.int64), keepdims=0)
    return graph.reshape(pooled, group.count, height, width, -1)


def _attend_in_group(graph: GraphBuilder, qkv: Value, name: str, block: Block, group: Windows) -> Value:
    """[grid², 3 × width] to [queries of the group, width].

    Tokens beyond the edge of the image are zero before the projection, so after it they are its bias: keys and values
    of a window at the edge are filled up with that.
    """
    width, heads, side = block.width, block.heads, block.window
    size = width // heads
    own = _window(graph, qkv, group, 3 * width)
    query = graph.slice(own, 0, width, axis=3)
    query = _pool(graph, query, group) if block.pools else query
    query = graph.transpose(graph.reshape(query, group.count, -1, heads, size), 0, 2, 1, 3)
    others = graph.slice(own, width, 3 * width, axis=3)
    if (group.height, group.width) != (side, side):
        bias = graph.slice(graph.weight(f"{name}.qkv.bias"), width, 3 * width)
        beyond = graph.reshape(bias, 1, 1, 1, 2 * width)
        others = pad_windows(graph, others, beyond, (group.count, group.height, side - group.width), axis=2)
        others = pad_windows(graph, others, beyond, (group.count, side - group.height, side), axis=1)
    others = graph.transpose(graph.reshape(others, group.count, side * side, 2, heads, size), 2, 0, 3, 1, 4)
    key, value = (
        graph.reshape(graph.slice(others, index, index + 1), group.count, heads, side * side, size) for index in (0, 1)
    )
    attended = _attend(graph, query, key, value, size, batch=2)  # [count, heads, queries, size]
    return graph.reshape(graph.transpose(attended, 0, 2, 1, 3), -1, width)


def _attend_globally(graph: GraphBuilder, qkv: Value, block: Block) -> Value:
    """[grid², 3 × width] to [grid², width], some queries of one head at a time."""
    heads, size, tokens = block.heads, block.width // block.heads, block.grid**2
    split = graph.transpose(graph.reshape(qkv, tokens, 3, heads, size), 1, 2, 0, 3)
    query, key, value = (graph.reshape(graph.slice(split, index, index + 1), heads, tokens, size) for index in range(3))
    step = max(1, _CHUNK_SCORES // tokens)
    done = []
    for head in range(heads):
        mine, keys, values = (graph.slice(each, head, head + 1) for each in (query, key, value))
        chunks = [
            _attend(graph, graph.slice(mine, start, min(start + step, tokens), axis=1), keys, values, size, batch=1)
            for start in range(0, tokens, step)
        ]
        done.append(graph.concat(chunks, axis=1))
    return graph.reshape(graph.transpose(graph.concat(done, axis=0), 1, 0, 2), tokens, block.width)


def _attend(graph: GraphBuilder, query: Value, key: Value, value: Value, size: int, batch: int) -> Value:
    """softmax(query · keyᵀ / √size) · value, for arrays with so many axes before those of tokens and channels."""
    query = graph.op("Mul", query, graph.constant(size**-0.5))
    scores = graph.op("MatMul", query, graph.transpose(key, *range(batch), batch + 1, batch))
    return graph.op("MatMul", graph.op("Softmax", scores, axis=-1), value)
