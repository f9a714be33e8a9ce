"""The image encoder's attention, within windows and over the whole image.

Both add what a query's distance from a key along rows and along columns is worth to it (decomposed relative positions,
Li et al., MViTv2, CVPR 2022).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskery.models.sam.config import VisionConfig
from maskery.models.sam.graph import Graph, Value

# Scores of global attention that exist at a time: one head's, of some rows of queries.
_CHUNK_SCORES = 2**22


@dataclass(frozen=True)
class Windows:
    """Windows of one shape, next to each other in the order of tokens.

    Attributes:
        count: how many.
        height, width: patches of the image in each.
        start: of their tokens.
    """

    count: int
    height: int
    width: int
    start: int

    @property
    def stop(self) -> int:
        return self.start + self.count * self.height * self.width


def window_order(grid: int, side: int) -> tuple[NDArray[np.int64], list[Windows]]:
    """Places of the tokens in the image's order, in the order of windows; and the windows, by shape.

    Args:
        grid: tokens along a side of the image.
        side: of a window, in tokens; windows at the right and lower edge are smaller where it does not divide the grid.
    """
    places = np.arange(grid * grid, dtype=np.int64).reshape(grid, grid)
    parts, windows, start = [], [], 0
    edges = range(0, grid, side)
    sizes = {edge: min(side, grid - edge) for edge in edges}
    for height in sorted(set(sizes.values()), reverse=True):
        for width in sorted(set(sizes.values()), reverse=True):
            members = [
                places[y : y + height, x : x + width].ravel()
                for y in edges
                for x in edges
                if sizes[y] == height and sizes[x] == width
            ]
            windows.append(Windows(len(members), height, width, start))
            start = windows[-1].stop
            parts += members
    return np.concatenate(parts), windows


def attend_in_windows(graph: Graph, tokens: Value, name: str, vision: VisionConfig, windows: list[Windows]) -> Value:
    """[grid², hidden], tokens in the order of `window_order`, to the same."""
    qkv = graph.linear_rows(tokens, f"{name}.qkv")
    parts = [_attend_in_group(graph, qkv, name, vision, group) for group in windows]
    return graph.op("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]


def _attend_in_group(graph: Graph, qkv: Value, name: str, vision: VisionConfig, group: Windows) -> Value:
    side, heads, head_size, hidden = vision.window_size, vision.heads, vision.head_size, vision.hidden_size
    count, height, width = group.count, group.height, group.width
    own = graph.reshape(graph.rows(qkv, group.start, group.stop), count, height, width, 3 * hidden)
    query = graph.reshape(graph.rows(own, 0, hidden, axis=3), count, height, width, heads, head_size)
    query = graph.transpose(query, 0, 3, 1, 2, 4)
    # Tokens beyond the image are zero before the projection, so its bias is what is left of them.
    beyond = graph.reshape(graph.weight(f"{name}.qkv.bias"), 1, 1, 1, 3 * hidden)
    full = _extend(graph, own, beyond, (count, height, side - width), axis=2)
    full = _extend(graph, full, beyond, (count, side - height, side), axis=1)
    others = graph.rows(full, hidden, 3 * hidden, axis=3)
    others = graph.transpose(graph.reshape(others, count, side * side, 2, heads, head_size), 2, 0, 3, 1, 4)
    key, value = (
        graph.reshape(graph.rows(others, index, index + 1), count, heads, side * side, head_size) for index in (0, 1)
    )
    bias = _distances(graph, query, name, (height, width), side, batch=2)
    flat = graph.reshape(query, count, heads, height * width, head_size)
    attended = _attend(graph, flat, _scaled(graph, key, head_size), value, bias, (count, heads, height * width, side))
    return graph.reshape(graph.transpose(attended, 0, 2, 1, 3), count * height * width, hidden)


def attend_globally(graph: Graph, tokens: Value, name: str, vision: VisionConfig) -> Value:
    """[grid², hidden], tokens in the image's order, to the same.

    Queries go in chunks: all scores at once would be heads × grid⁴ numbers, 800 MB for ViT-B.
    """
    grid, heads, head_size = vision.grid, vision.heads, vision.head_size
    qkv = graph.reshape(graph.linear_rows(tokens, f"{name}.qkv"), grid * grid, 3, heads, head_size)
    qkv = graph.transpose(qkv, 1, 2, 0, 3)
    query, key, value = (
        graph.reshape(graph.rows(qkv, index, index + 1), heads, grid * grid, head_size) for index in range(3)
    )
    key = _scaled(graph, key, head_size)
    square = graph.reshape(query, heads, grid, grid, head_size)
    bias = _distances(graph, square, name, (grid, grid), grid, batch=1)
    rows = max(1, _CHUNK_SCORES // grid**3)
    done = []
    for head in range(heads):
        mine, keys, values, *distances = (graph.rows(each, head, head + 1) for each in (query, key, value, *bias))
        parts = []
        for start in range(0, grid, rows):
            stop = min(start + rows, grid)
            some = graph.rows(mine, start * grid, stop * grid, axis=1)
            down, across = (graph.rows(each, start, stop, axis=1) for each in distances)
            shape = (1, (stop - start) * grid, grid)
            parts.append(_attend(graph, some, keys, values, (down, across), shape))
        done.append(graph.op("Concat", *parts, axis=1) if len(parts) > 1 else parts[0])
    attended = graph.op("Concat", *done, axis=0) if heads > 1 else done[0]
    return graph.reshape(graph.transpose(attended, 1, 0, 2), grid * grid, vision.hidden_size)


def _extend(graph: Graph, value: Value, row: Value, missing: tuple[int, int, int], axis: int) -> Value:
    if not all(missing):
        return value
    shape = graph.constant([*missing, 1], np.int64)
    return graph.op("Concat", value, graph.op("Expand", row, shape), axis=axis)


def _scaled(graph: Graph, key: Value, head_size: int) -> Value:
    """Keys times 1 / √head_size: there are fewer of them than of scores, and distances see queries as they are."""
    return graph.op("Mul", key, graph.constant(head_size**-0.5))


def _distances(
    graph: Graph, query: Value, name: str, size: tuple[int, int], side: int, batch: int
) -> tuple[Value, Value]:
    """What distances along rows and columns add to scores: [batch…, height, width, side] each.

    Args:
        query: [batch…, height, width, head_size].
        size: (height, width) of the queries; keys fill a square of `side`.
        batch: how many axes stand before them.
    """
    down = graph.op("MatMul", query, _relative_positions(graph, f"{name}.rel_pos_h", size[0], side))
    swap = [*range(batch), batch + 1, batch, batch + 2]
    turned = graph.transpose(query, *swap)
    across = graph.op("MatMul", turned, _relative_positions(graph, f"{name}.rel_pos_w", size[1], side))
    return down, graph.transpose(across, *swap)


def _relative_positions(graph: Graph, name: str, queries: int, keys: int) -> Value:
    """[queries, head_size, keys]: for each query's place along an axis the embedding of each key's distance."""
    distance = np.arange(queries)[:, None] - np.arange(keys)[None, :] + keys - 1
    return graph.constant(graph.array(name)[distance].transpose(0, 2, 1))


def _attend(
    graph: Graph, query: Value, key: Value, value: Value, bias: tuple[Value, Value], shape: tuple[int, ...]
) -> Value:
    """softmax(query · keyᵀ + what rows and columns add) · value.

    Args:
        query, key, value: [batch…, tokens, head_size]; keys are scaled.
        bias: what rows, and what columns, add to each query's scores: [batch…, queries, side] in all.
        shape: (batch…, queries, side); keys are side² tokens.
    """
    *batch, queries, side = shape
    last = len(batch)
    scores = graph.op("MatMul", query, graph.transpose(key, *range(last), last + 1, last))
    scores = graph.reshape(scores, *batch, queries, side, side)
    rows, columns = bias
    both = graph.op(
        "Add", graph.reshape(rows, *batch, queries, side, 1), graph.reshape(columns, *batch, queries, 1, side)
    )
    scores = graph.reshape(graph.op("Add", scores, both), *batch, queries, side * side)
    return graph.op("MatMul", graph.op("Softmax", scores, axis=-1), value)
