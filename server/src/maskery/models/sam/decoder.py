"""The prompt encoder and mask decoder as an ONNX graph: embedding and prompts to low-resolution logits.

Less arithmetic than the reference spends, for the same result (ViT-B at 1024 pixels: 4.5 GFLOP an object, not 8.4):

- A dozen tokens attend to thousands of patches. Projecting the patches to keys and values costs grid² × 256 × 128
  each; projecting the tokens instead, through the same matrices the other way, leaves heads × tokens dot products
  with the patches as they are. What the keys' bias adds is the same for all keys and drops out of the softmax.
- The second HQ convolution is linear and followed by a dot product with the object's token, so the token is folded
  into its kernel: 64 channels to 9 taps, shifted and added, instead of 64 to 32 channels at every tap.
- Transposed convolutions of stride 2 are matrix products per patch; layer normalisation and Gelu work before the
  pixels are put in their places.
"""

from collections.abc import Sequence

import numpy as np

from maskery.models.sam.config import DecoderConfig, SamConfig
from maskery.models.sam.graph import Graph, Value
from maskery.models.sam.prompts import grid_positions


def write_decoder(graph: Graph, config: SamConfig, with_masks: bool) -> None:
    """Inputs and outputs of the graph, for any number of objects and of tokens each:

    - ``embedding`` float32 [1, grid², channels] and, for SAM-HQ, ``hq_features`` [1, channels / 8, side, side], as the
      encoder answers them; side is 4 × grid;
    - ``prompt`` float32 [objects, tokens, channels] and ``hidden`` float32 [objects, tokens], as `PromptEncoder` makes
      them;
    - ``masks`` float32 [objects, 1, side, side], logits to start from, if `with_masks`;
    - ``logits`` float32 [objects, 4, side, side], the single output and the three of the multimask mode;
    - ``hq_logits`` float32 [objects, 1, side, side], which SAM-HQ adds to each of them;
    - ``scores`` float32 [objects, 4], predicted IoU.
    """
    grid, decoder = config.vision.grid, config.decoder
    side, outputs = config.low_resolution, decoder.multimask + 1
    channels = decoder.hidden_size
    embedding = graph.input("embedding", np.float32, (1, grid * grid, channels))
    features = graph.input("hq_features", np.float32, (1, channels // 8, side, side)) if config.is_hq else None
    prompt = graph.input("prompt", np.float32, ("objects", "tokens", channels))
    hidden = graph.input("hidden", np.float32, ("objects", "tokens"))
    if with_masks:
        masks = graph.input("masks", np.float32, ("objects", 1, side, side))
        dense = embed_masks(graph, masks, grid, decoder)
    else:
        dense = graph.weight("prompt_encoder.no_mask_embed.weight")
    names = ["iou_token", "mask_tokens", *(["hq_token"] if config.is_hq else [])]
    tokens, hidden = output_tokens(graph, names, prompt, hidden)
    image = graph.op("Add", embedding, dense)
    tokens, image = two_way_transformer(graph, decoder, grid, tokens, image, hidden)

    answers = [
        feed_forward(graph, token_at(graph, tokens, 1 + index), f"output_hypernetworks_mlps.{index}", 3)
        for index in range(outputs)
    ]
    upscaled = _upscale(graph, image, grid, channels)
    hyper = graph.op("Concat", *answers, axis=1)
    pixels = graph.reshape(upscaled, 0, side * side, channels // 8)
    logits = graph.op("MatMul", hyper, graph.transpose(pixels, 0, 2, 1))
    graph.output("logits", graph.reshape(logits, -1, outputs, side, side), ("objects", outputs, side, side))
    if features is not None:
        token = feed_forward(graph, token_at(graph, tokens, 1 + outputs), "hq_mask_mlp", 3)
        hq = _hq_logits(graph, upscaled, features, token, side, channels)
        graph.output("hq_logits", hq, ("objects", 1, side, side))
    scores = feed_forward(graph, token_at(graph, tokens, 0), "iou_prediction_head", decoder.iou_depth)
    graph.output("scores", graph.reshape(scores, -1, outputs), ("objects", outputs))


def output_tokens(graph: Graph, names: Sequence[str], prompt: Value, hidden: Value) -> tuple[Value, Value]:
    """Tokens [objects, outputs + prompt, channels], and what hides the padding: [objects, 1, 1, tokens]."""
    own = np.concatenate([graph.array(f"mask_decoder.{name}.weight") for name in names])
    objects = graph.rows(graph.op("Shape", hidden), 0, 1)
    shape = graph.op("Concat", objects, graph.constant(own.shape, np.int64), axis=0)
    tokens = graph.op("Concat", graph.op("Expand", graph.constant(own[None]), shape), prompt, axis=1)
    shape = graph.op("Concat", objects, graph.constant([len(own)], np.int64), axis=0)
    seen = graph.op("Expand", graph.constant(np.zeros((1, 1))), shape)
    hidden = graph.op("Concat", seen, hidden, axis=1)
    return tokens, graph.op("Unsqueeze", hidden, graph.constant([1, 2], np.int64))


def embed_masks(graph: Graph, masks: Value, grid: int, decoder: DecoderConfig) -> Value:
    """Logits [objects, 1, side, side] to [objects, grid², channels]."""
    name = "prompt_encoder.mask_embed"
    value = masks
    for number in (1, 2):
        weights = graph.weight(f"{name}.conv{number}.weight"), graph.weight(f"{name}.conv{number}.bias")
        value = graph.op("Conv", value, *weights, strides=[2, 2])
        value = graph.transpose(value, 0, 2, 3, 1)
        value = graph.op("Gelu", graph.layer_norm(value, f"{name}.layer_norm{number}", decoder.eps))
        if number == 1:
            value = graph.transpose(value, 0, 3, 1, 2)
    kernel = graph.reshape(graph.weight(f"{name}.conv3.weight"), decoder.hidden_size, decoder.mask_channels)
    value = graph.reshape(value, 0, grid * grid, decoder.mask_channels)
    return graph.op("Add", graph.op("MatMul", value, graph.transpose(kernel, 1, 0)), graph.weight(f"{name}.conv3.bias"))


def two_way_transformer(graph: Graph, decoder: DecoderConfig, grid: int, points: Value, image: Value, hidden: Value) -> tuple[Value, Value]:
    """The two-way transformer: tokens and patches look at each other in turn."""
    where = graph.constant(grid_positions(graph.weights, grid)[None])
    tokens = points
    root = "mask_decoder.transformer"
    placed = graph.op("Add", image, where)
    for layer in range(decoder.layers):
        name = f"{root}.layers.{layer}"
        # The first layer sees the tokens alone, without residual.
        query = tokens if layer == 0 else graph.op("Add", tokens, points)
        looked = _attend_tooutput_tokens(graph, decoder, f"{name}.self_attn", query, tokens, hidden)
        tokens = graph.layer_norm(
            looked if layer == 0 else graph.op("Add", tokens, looked), f"{name}.layer_norm1", decoder.eps
        )
        query = graph.op("Add", tokens, points)
        looked = _attend_to_image(graph, decoder, f"{name}.cross_attn_token_to_image", query, placed, image)
        tokens = graph.layer_norm(graph.op("Add", tokens, looked), f"{name}.layer_norm2", decoder.eps)
        inner = graph.op("Relu", graph.linear(tokens, f"{name}.mlp.lin1"))
        tokens = graph.op("Add", tokens, graph.linear(inner, f"{name}.mlp.lin2"))
        tokens = graph.layer_norm(tokens, f"{name}.layer_norm3", decoder.eps)
        key = graph.op("Add", tokens, points)
        seen = _image_attends(graph, decoder, f"{name}.cross_attn_image_to_token", placed, key, tokens, hidden)
        image = graph.layer_norm(graph.op("Add", image, seen), f"{name}.layer_norm4", decoder.eps)
        placed = graph.op("Add", image, where)
    query = graph.op("Add", tokens, points)
    looked = _attend_to_image(graph, decoder, f"{root}.final_attn_token_to_image", query, placed, image)
    # The only normalisation for which the reference leaves PyTorch's own epsilon.
    return graph.layer_norm(graph.op("Add", tokens, looked), f"{root}.layer_norm_final_attn", 1e-5), image


def _attend_tooutput_tokens(
    graph: Graph, decoder: DecoderConfig, name: str, query: Value, value: Value, hidden: Value
) -> Value:
    """Self-attention; `query` serves as key too."""
    heads, size = decoder.heads, decoder.hidden_size // decoder.heads
    split = [
        graph.transpose(graph.reshape(graph.linear(source, f"{name}.{part}_proj"), 0, -1, heads, size), 0, 2, 1, 3)
        for part, source in (("q", query), ("k", query), ("v", value))
    ]
    scores = graph.op("MatMul", split[0], graph.transpose(split[1], 0, 1, 3, 2))
    scores = graph.op("Add", graph.op("Mul", scores, graph.constant(size**-0.5)), hidden)
    looked = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), split[2])
    merged = graph.reshape(graph.transpose(looked, 0, 2, 1, 3), 0, -1, decoder.hidden_size)
    return graph.linear(merged, f"{name}.out_proj")


def _by_head(graph: Graph, decoder: DecoderConfig, value: Value, inner: int) -> Value:
    """[objects, tokens, inner] to [objects, heads, tokens, inner / heads]."""
    return graph.transpose(graph.reshape(value, 0, -1, decoder.heads, inner // decoder.heads), 0, 2, 1, 3)


def _per_head(graph: Graph, decoder: DecoderConfig, name: str) -> Value:
    """A projection's weight as [heads, inner / heads, channels]."""
    return graph.reshape(graph.weight(f"{name}.weight"), decoder.heads, -1, decoder.hidden_size)


def _inner_size(graph: Graph, name: str) -> int:
    """What the tokens are projected to; the configuration names it for one of the attentions only."""
    return graph.weights.tensors[f"{name}.q_proj.weight"].shape[0]


def _attend_to_image(
    graph: Graph, decoder: DecoderConfig, name: str, query: Value, placed: Value, image: Value
) -> Value:
    """Tokens look at patches, the patches' projections folded into the tokens."""
    channels, inner = decoder.hidden_size, _inner_size(graph, name)
    split = _by_head(graph, decoder, graph.linear(query, f"{name}.q_proj"), inner)
    split = graph.op("Mul", split, graph.constant((inner // decoder.heads) ** -0.5))
    folded = graph.op("MatMul", split, _per_head(graph, decoder, f"{name}.k_proj"))
    flat = graph.reshape(folded, 0, -1, channels)
    scores = graph.op("MatMul", flat, graph.transpose(placed, 0, 2, 1))
    # A softmax whose division waits until 4096 patches have become 256 channels.
    last = graph.constant([-1], np.int64)
    highest = graph.op("ReduceMax", scores, last)
    powers = graph.op("Exp", graph.op("Sub", scores, highest))
    looked = graph.op("Div", graph.op("MatMul", powers, image), graph.op("ReduceSum", powers, last))
    looked = graph.op("Reshape", looked, graph.op("Shape", folded))
    values = graph.op("MatMul", looked, graph.transpose(_per_head(graph, decoder, f"{name}.v_proj"), 0, 2, 1))
    merged = graph.reshape(graph.transpose(values, 0, 2, 1, 3), 0, -1, inner)
    # Weights of attention add up to one, so the values' bias can be added after it.
    return graph.linear(graph.op("Add", merged, graph.weight(f"{name}.v_proj.bias")), f"{name}.out_proj")


def _image_attends(
    graph: Graph, decoder: DecoderConfig, name: str, placed: Value, key: Value, value: Value, hidden: Value
) -> Value:
    """Patches look at tokens, the patches' projections folded into the tokens again."""
    heads, channels = decoder.heads, decoder.hidden_size
    inner = _inner_size(graph, name)
    size = inner // heads
    keys = _by_head(graph, decoder, graph.linear(key, f"{name}.k_proj"), inner)
    keys = graph.op("Mul", keys, graph.constant(size**-0.5))
    folded = graph.op("MatMul", keys, _per_head(graph, decoder, f"{name}.q_proj"))
    bias = graph.op("MatMul", keys, graph.reshape(graph.weight(f"{name}.q_proj.bias"), heads, size, 1))
    bias = graph.op("Add", bias, graph.transpose(hidden, 0, 1, 3, 2))
    scores = graph.op("MatMul", graph.reshape(folded, 0, -1, channels), graph.transpose(placed, 0, 2, 1))
    patches = graph.constant([-1], np.int64)
    shape = graph.op("Concat", graph.rows(graph.op("Shape", bias), 0, 3), patches, axis=0)
    scores = graph.op("Add", graph.op("Reshape", scores, shape), bias)
    share = graph.op("Softmax", scores, axis=2)
    values = _by_head(graph, decoder, graph.linear(value, f"{name}.v_proj"), inner)
    out = graph.reshape(graph.transpose(graph.weight(f"{name}.out_proj.weight"), 1, 0), heads, size, channels)
    folded_out = graph.reshape(graph.op("MatMul", values, out), 0, -1, channels)
    flat = graph.op(
        "Reshape",
        share,
        graph.op(
            "Concat",
            graph.rows(graph.op("Shape", share), 0, 1),
            graph.constant([-1], np.int64),
            graph.rows(graph.op("Shape", share), 3, 4),
            axis=0,
        ),
    )
    seen = graph.op("MatMul", graph.transpose(flat, 0, 2, 1), folded_out)
    return graph.op("Add", seen, graph.weight(f"{name}.out_proj.bias"))


def token_at(graph: Graph, tokens: Value, index: int) -> Value:
    return graph.rows(tokens, index, index + 1, axis=1)


def feed_forward(graph: Graph, value: Value, name: str, depth: int) -> Value:
    name = f"mask_decoder.{name}"
    layers = ["proj_in", *(f"layers.{index}" for index in range(depth - 2)), "proj_out"]
    for layer in layers[:-1]:
        value = graph.op("Relu", graph.linear(value, f"{name}.{layer}"))
    return graph.linear(value, f"{name}.{layers[-1]}")


def _upscale(graph: Graph, image: Value, grid: int, channels: int) -> Value:
    """[objects, grid², channels] to [objects, 4 × grid, 4 × grid, channels / 8]."""
    name = "mask_decoder.upscale"
    once = _double(graph, image, f"{name}_conv1", channels, channels // 4)
    once = graph.reshape(once, 0, -1, channels // 4)
    once = graph.op("Gelu", graph.layer_norm(once, f"{name}_layer_norm", 1e-6))
    twice = graph.op("Gelu", _double(graph, once, f"{name}_conv2", channels // 4, channels // 8))
    cells = graph.reshape(twice, -1, grid, grid, 2, 2, 2, 2, channels // 8)
    placed = graph.transpose(cells, 0, 1, 3, 5, 2, 4, 6, 7)
    return graph.reshape(placed, -1, 4 * grid, 4 * grid, channels // 8)


def _double(graph: Graph, value: Value, name: str, channels: int, narrower: int) -> Value:
    """A transposed convolution of stride 2, pixels not yet in their places: [objects, n, 4 × narrower]."""
    kernel = graph.transpose(graph.weight(f"{name}.weight"), 0, 2, 3, 1)
    bias = graph.op("Tile", graph.weight(f"{name}.bias"), graph.constant([4], np.int64))
    return graph.op("Add", graph.op("MatMul", value, graph.reshape(kernel, channels, 4 * narrower)), bias)


def _hq_logits(graph: Graph, upscaled: Value, features: Value, token: Value, side: int, channels: int) -> Value:
    """The HQ token's dot product with the refined features, its kernel folded into the second convolution."""
    narrow, wide = channels // 8, channels // 4
    name = "mask_decoder.mask"
    # With kernels whose mean over the channels is taken off, so is the mean that normalisation would take off.
    weight, shift = (graph.array(f"{name}_conv1.{part}") for part in ("weight", "bias"))
    centred = graph.constant(weight - weight.mean(axis=0)), graph.constant(shift - shift.mean())
    first = graph.op("Conv", graph.transpose(upscaled, 0, 3, 1, 2), *centred, pads=[1, 1, 1, 1])
    variance = graph.op("ReduceMean", graph.op("Mul", first, first), graph.constant([1], np.int64))
    spread = graph.op("Sqrt", graph.op("Add", variance, graph.constant(1e-6)))
    scale, offset = (graph.reshape(graph.weight(f"{name}_norm.{part}"), 1, wide, 1, 1) for part in ("weight", "bias"))
    normal = graph.op("Add", graph.op("Mul", graph.op("Div", first, spread), scale), offset)
    refined = graph.transpose(graph.op("Gelu", normal), 0, 2, 3, 1)
    refined = graph.reshape(refined, 0, side * side, wide)
    kernel = graph.reshape(graph.transpose(graph.weight(f"{name}_conv2.weight"), 0, 2, 3, 1), narrow, 9 * wide)
    taps = graph.reshape(graph.op("MatMul", token, kernel), 0, 9, wide)
    maps = graph.op("MatMul", taps, graph.transpose(refined, 0, 2, 1))
    place = graph.constant(np.eye(9).reshape(1, 9, 3, 3))
    fine = graph.op("Conv", graph.reshape(maps, 0, 9, side, side), place, pads=[1, 1, 1, 1])
    bias = graph.reshape(graph.weight(f"{name}_conv2.bias"), narrow, 1)
    fused = graph.op("Add", graph.reshape(features, 1, narrow, side * side), bias)
    known = graph.reshape(graph.op("MatMul", token, fused), 0, 1, side, side)
    return graph.op("Add", fine, known)
