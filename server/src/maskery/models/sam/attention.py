"""The image encoder's attention, within windows and over the whole image.

Both add decomposed relative positions: the distances of query and key along rows and along columns (Li et al., MViTv2,
CVPR 2022). In the shapes, B is the number of windows, nH of heads, C the size of a head, D = nH × C.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskery.models.sam.config import VisionConfig
from maskery.models.sam.graph import GraphBuilder, Value

# Scores of global attention that exist at a time: one head's, of some rows of queries. They are written and read three
# times, so they should stay in the processor's cache.
_CHUNK_SCORES = 2**21


@dataclass(frozen=True)
class Windows:
    """Windows of one shape whose tokens are consecutive.

    Attributes:
        count: number of windows.
        height, width: of each, in patches.
        start: index of their first token.
    """

    count: int
    height: int
    width: int
    start: int

    @property
    def stop(self) -> int:
        return self.start + self.count * self.height * self.width


def window_order(grid: int, side: int) -> tuple[NDArray[np.int64], list[Windows]]:
    """The order of tokens by window, as indices int64 [grid²] into the order by rows; and the windows, by shape.

    Windows of `side` tokens start in the upper left corner; those at the right and lower edge may be smaller.
    """
    indices = np.arange(grid * grid, dtype=np.int64).reshape(grid, grid)
    parts, windows, start = [], [], 0
    edges = range(0, grid, side)
    sizes = {edge: min(side, grid - edge) for edge in edges}
    for height in sorted(set(sizes.values()), reverse=True):
        for width in sorted(set(sizes.values()), reverse=True):
            members = [
                indices[y : y + height, x : x + width].ravel()
                for y in edges
                for x in edges
                if sizes[y] == height and sizes[x] == width
            ]
            windows.append(Windows(len(members), height, width, start))
            start = windows[-1].stop
            parts += members
    return np.concatenate(parts), windows


def window_attention(
    graph: GraphBuilder, tokens: Value, name: str, vision: VisionConfig, windows: list[Windows]
) -> Value:
    """[grid², D] in the order of `window_order` to the same."""
    qkv = graph.linear_rows(tokens, f"{name}.qkv")  # [grid², 3 × D]
    parts = [_attend_windows(graph, qkv, name, vision, each) for each in windows]
    return graph.concat(parts, axis=0)


def _attend_windows(graph: GraphBuilder, qkv: Value, name: str, vision: VisionConfig, windows: Windows) -> Value:
    side, heads, head_size, dim = vision.window_size, vision.heads, vision.head_size, vision.hidden_size
    count, height, width = windows.count, windows.height, windows.width
    qkv = graph.slice(qkv, windows.start, windows.stop)
    qkv = graph.reshape(qkv, count, height, width, 3 * dim)  # [B, height, width, 3 × D]
    q = graph.reshape(graph.slice(qkv, 0, dim, axis=3), count, height, width, heads, head_size)
    q = graph.transpose(q, 0, 3, 1, 2, 4)  # [B, nH, height, width, C]
    # Tokens beyond the image are zero before the projection, so after it they are its bias.
    bias = graph.reshape(graph.weight(f"{name}.qkv.bias"), 1, 1, 1, 3 * dim)
    padded = pad_windows(graph, qkv, bias, (count, height, side - width), axis=2)
    padded = pad_windows(graph, padded, bias, (count, side - height, side), axis=1)  # [B, side, side, 3 × D]
    kv = graph.reshape(graph.slice(padded, dim, 3 * dim, axis=3), count, side * side, 2, heads, head_size)
    kv = graph.transpose(kv, 2, 0, 3, 1, 4)  # [2, B, nH, side², C]
    k, v = (
        graph.reshape(graph.slice(kv, index, index + 1), count, heads, side * side, head_size) for index in range(2)
    )
    rel_pos = _decomposed_rel_pos(graph, q, name, (height, width), side, batch_axes=2)
    q = graph.reshape(q, count, heads, height * width, head_size)  # [B, nH, height × width, C]
    shape = (count, heads, height * width, side)
    attn_out = _attention(graph, q, _scale(graph, k, head_size), v, rel_pos, shape)
    attn_out = graph.transpose(attn_out, 0, 2, 1, 3)  # [B, height × width, nH, C]
    return graph.reshape(attn_out, count * height * width, dim)


def global_attention(graph: GraphBuilder, tokens: Value, name: str, vision: VisionConfig) -> Value:
    """[grid², D] in the order of rows to the same.

    Heads are processed one by one, queries in chunks: all scores at once would be nH × grid⁴ numbers, 800 MB for ViT-B.
    """
    grid, heads, head_size = vision.grid, vision.heads, vision.head_size
    qkv = graph.reshape(graph.linear_rows(tokens, f"{name}.qkv"), grid * grid, 3, heads, head_size)
    qkv = graph.transpose(qkv, 1, 2, 0, 3)  # [3, nH, grid², C]
    q, k, v = (graph.reshape(graph.slice(qkv, index, index + 1), heads, grid * grid, head_size) for index in range(3))
    k = _scale(graph, k, head_size)
    square = graph.reshape(q, heads, grid, grid, head_size)  # [nH, grid, grid, C]
    rel_pos = _decomposed_rel_pos(graph, square, name, (grid, grid), grid, batch_axes=1)
    rows = max(1, _CHUNK_SCORES // grid**3)

    def attend_head(q: Value, k: Value, v: Value, rel_pos_h: Value, rel_pos_w: Value) -> Value:
        chunks = []
        for start in range(0, grid, rows):
            stop = min(start + rows, grid)
            chunk_q = graph.slice(q, start * grid, stop * grid)  # [(stop - start) × grid, C]
            chunk_rel_pos = graph.slice(rel_pos_h, start, stop), graph.slice(rel_pos_w, start, stop)
            chunks.append(_attention(graph, chunk_q, k, v, chunk_rel_pos, ((stop - start) * grid, grid)))
        return graph.concat(chunks, axis=0)

    tokens_shape, rel_pos_shape = (grid * grid, head_size), (grid, grid, grid)
    by_head = [*((each, tokens_shape) for each in (q, k, v)), *((each, rel_pos_shape) for each in rel_pos)]
    attn_out = graph.scan(by_head, attend_head, tokens_shape)  # [nH, grid², C]
    return graph.reshape(graph.transpose(attn_out, 1, 0, 2), grid * grid, vision.hidden_size)


def pad_windows(graph: GraphBuilder, value: Value, row: Value, missing: tuple[int, int, int], axis: int) -> Value:
    """Append copies of `row` to [B, height, width, channels] along an axis, in the shape `missing`."""
    if not all(missing):
        return value
    shape = graph.constant([*missing, 1], np.int64)
    return graph.op("Concat", value, graph.op("Expand", row, shape), axis=axis)


def _scale(graph: GraphBuilder, k: Value, head_size: int) -> Value:
    """Keys × 1 / √C. There are fewer keys than scores, and relative positions use unscaled queries."""
    return graph.op("Mul", k, graph.constant(head_size**-0.5))


def _decomposed_rel_pos(
    graph: GraphBuilder, q: Value, name: str, q_size: tuple[int, int], k_side: int, batch_axes: int
) -> tuple[Value, Value]:
    """The terms of relative positions along rows and along columns: [batch…, height, width, k_side] each.

    Args:
        q: [batch…, height, width, C].
        q_size: (height, width) of the queries; keys fill a square of side `k_side`.
        batch_axes: number of axes before them.
    """
    rel_pos_h = graph.op("MatMul", q, _rel_pos(graph, f"{name}.rel_pos_h", q_size[0], k_side))
    swap = [*range(batch_axes), batch_axes + 1, batch_axes, batch_axes + 2]
    by_columns = graph.transpose(q, *swap)  # [batch…, width, height, C]
    rel_pos_w = graph.op("MatMul", by_columns, _rel_pos(graph, f"{name}.rel_pos_w", q_size[1], k_side))
    return rel_pos_h, graph.transpose(rel_pos_w, *swap)


def _rel_pos(graph: GraphBuilder, name: str, queries: int, keys: int) -> Value:
    """[queries, C, keys]: for each query position along an axis the embeddings of the keys' distances."""
    distance = np.arange(queries)[:, None] - np.arange(keys)[None, :] + keys - 1
    return graph.constant(graph.array(name)[distance].transpose(0, 2, 1))


def _attention(
    graph: GraphBuilder, q: Value, k: Value, v: Value, rel_pos: tuple[Value, Value], shape: tuple[int, ...]
) -> Value:
    """softmax(q · kᵀ + rel_pos) · v.

    Args:
        q, k, v: [batch…, tokens, C]; keys are scaled.
        rel_pos: along rows and along columns, with batch… × queries × side elements each.
        shape: (batch…, queries, side); there are side² keys.
    """
    *batch, queries, side = shape
    last = len(batch)
    attn = graph.op("MatMul", q, graph.transpose(k, *range(last), last + 1, last))
    attn = graph.reshape(attn, *batch, queries, side, side)
    rel_pos_h = graph.reshape(rel_pos[0], *batch, queries, side, 1)
    rel_pos_w = graph.reshape(rel_pos[1], *batch, queries, 1, side)
    attn = graph.op("Add", attn, graph.op("Add", rel_pos_h, rel_pos_w))
    attn = graph.reshape(attn, *batch, queries, side * side)
    return graph.op("MatMul", graph.op("Softmax", attn, axis=-1), v)
