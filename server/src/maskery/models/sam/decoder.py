"""The prompt encoder and mask decoder as an ONNX graph.

It computes the same as the reference with less arithmetic (ViT-B at 1024 pixels: 4.5 GFLOP an object instead of 8.4):

- About ten tokens attend to thousands of patches. Projecting the patches to keys and values costs grid² × 256 × 128
  each. Projecting the tokens through the same matrices, transposed, leaves heads × tokens dot products with the
  unprojected patches. The keys' bias adds the same to the scores of all keys, so softmax cancels it.
- The second HQ convolution is linear and followed by a dot product with the object's token, so the token is folded
  into its kernel: 64 channels to 9 taps, shifted and added, instead of 64 to 32 channels at every tap.
- Transposed convolutions of stride 2 are matrix products per patch; layer normalization and Gelu are applied before
  the pixels are rearranged.

In the shapes, B is the number of objects, N of tokens, P = grid² of patches, nH of heads, D the hidden size and C the
size of a head in an attention's inner dimension.
"""

import numpy as np

from maskery.models.sam.config import DecoderConfig, SamConfig
from maskery.models.sam.graph import GraphBuilder, Value
from maskery.models.sam.prompts import dense_positional_encoding


def build_decoder(graph: GraphBuilder, config: SamConfig, with_masks: bool) -> None:
    """Add the decoder's inputs, nodes and outputs, for any number of objects and tokens.

    - ``embedding`` float32 [1, P, D] and, for SAM-HQ, ``hq_features`` [1, D / 8, side, side], as the encoder returns
      them; side is 4 × grid;
    - ``prompt`` float32 [B, N, D] and ``attn_mask`` float32 [B, N], as `PromptEncoder` returns them;
    - ``masks`` float32 [B, 1, side, side], logits of mask prompts, if `with_masks`;
    - ``logits`` float32 [B, 4, side, side], the single mask and the three of the multimask mode;
    - ``hq_logits`` float32 [B, 1, side, side], which SAM-HQ adds to each of them;
    - ``scores`` float32 [B, 4], predicted IoU.
    """
    grid, decoder = config.vision.grid, config.decoder
    side, outputs, dim = config.low_resolution, decoder.multimask + 1, decoder.hidden_size
    embedding = graph.input("embedding", (1, grid * grid, dim))
    hq_features = graph.input("hq_features", (1, dim // 8, side, side)) if config.is_hq else None
    prompt = graph.input("prompt", ("objects", "tokens", dim))
    attn_mask = graph.input("attn_mask", ("objects", "tokens"))
    if with_masks:
        masks = graph.input("masks", ("objects", 1, side, side))
        dense_prompt = _embed_masks(graph, masks, grid, decoder)
    else:
        dense_prompt = graph.weight("prompt_encoder.no_mask_embed.weight")
    tokens, attn_mask = _add_output_tokens(graph, config, prompt, attn_mask)
    queries, keys = _two_way_transformer(graph, config, tokens, graph.op("Add", embedding, dense_prompt), attn_mask)

    upscaled = _upscale(graph, keys, grid, dim)  # [B, side, side, D / 8]
    hyper = [
        _mlp(graph, _token(graph, queries, 1 + index), f"output_hypernetworks_mlps.{index}", 3)
        for index in range(outputs)
    ]
    hyper_in = graph.op("Concat", *hyper, axis=1)  # [B, outputs, D / 8]
    pixels = graph.reshape(upscaled, 0, side * side, dim // 8)
    logits = graph.op("MatMul", hyper_in, graph.transpose(pixels, 0, 2, 1))  # [B, outputs, side²]
    graph.output("logits", graph.reshape(logits, -1, outputs, side, side), ("objects", outputs, side, side))
    if hq_features is not None:
        hq_token = _mlp(graph, _token(graph, queries, 1 + outputs), "hq_mask_mlp", 3)  # [B, 1, D / 8]
        hq_logits = _hq_logits(graph, upscaled, hq_features, hq_token, side, dim)
        graph.output("hq_logits", hq_logits, ("objects", 1, side, side))
    scores = _mlp(graph, _token(graph, queries, 0), "iou_prediction_head", decoder.iou_depth)
    graph.output("scores", graph.reshape(scores, -1, outputs), ("objects", outputs))


def _add_output_tokens(graph: GraphBuilder, config: SamConfig, prompt: Value, attn_mask: Value) -> tuple[Value, Value]:
    """Put the output tokens before the prompt: [B, outputs + N, D], and the mask [B, 1, 1, outputs + N]."""
    names = ["iou_token", "mask_tokens", *(["hq_token"] if config.is_hq else [])]
    output_tokens = np.concatenate([graph.array(f"mask_decoder.{name}.weight") for name in names])
    objects = graph.slice(graph.op("Shape", attn_mask), 0, 1)
    shape = graph.op("Concat", objects, graph.constant(output_tokens.shape, np.int64), axis=0)
    expanded = graph.op("Expand", graph.constant(output_tokens[None]), shape)
    tokens = graph.op("Concat", expanded, prompt, axis=1)
    shape = graph.op("Concat", objects, graph.constant([len(output_tokens)], np.int64), axis=0)
    visible = graph.op("Expand", graph.constant(np.zeros((1, 1))), shape)
    attn_mask = graph.op("Concat", visible, attn_mask, axis=1)
    return tokens, graph.op("Unsqueeze", attn_mask, graph.constant([1, 2], np.int64))


def _embed_masks(graph: GraphBuilder, masks: Value, grid: int, decoder: DecoderConfig) -> Value:
    """Logits [B, 1, side, side] to [B, P, D]."""
    name = "prompt_encoder.mask_embed"
    value = masks
    for number in (1, 2):
        weights = graph.weight(f"{name}.conv{number}.weight"), graph.weight(f"{name}.conv{number}.bias")
        value = graph.op("Conv", value, *weights, strides=[2, 2])
        value = graph.transpose(value, 0, 2, 3, 1)  # [B, height, width, channels]
        value = graph.op("Gelu", graph.layer_norm(value, f"{name}.layer_norm{number}", decoder.eps))
        if number == 1:
            value = graph.transpose(value, 0, 3, 1, 2)
    kernel = graph.reshape(graph.weight(f"{name}.conv3.weight"), decoder.hidden_size, decoder.mask_channels)
    value = graph.reshape(value, 0, grid * grid, decoder.mask_channels)
    return graph.op("Add", graph.op("MatMul", value, graph.transpose(kernel, 1, 0)), graph.weight(f"{name}.conv3.bias"))


def _two_way_transformer(
    graph: GraphBuilder, config: SamConfig, tokens: Value, keys: Value, attn_mask: Value
) -> tuple[Value, Value]:
    """Tokens and patches attend to each other in turn: queries [B, N, D] and keys [B, P, D]."""
    decoder, root = config.decoder, "mask_decoder.transformer"
    queries, query_pe = tokens, tokens
    key_pe = graph.constant(dense_positional_encoding(graph.weights, config.vision.grid)[None])
    for layer in range(decoder.layers):
        name = f"{root}.layers.{layer}"
        # The first layer attends without positional encoding and without a residual.
        q = queries if layer == 0 else graph.op("Add", queries, query_pe)
        attn_out = _self_attention(graph, decoder, f"{name}.self_attn", q, queries, attn_mask)
        queries = attn_out if layer == 0 else graph.op("Add", queries, attn_out)
        queries = graph.layer_norm(queries, f"{name}.layer_norm1", decoder.eps)

        q, k = graph.op("Add", queries, query_pe), graph.op("Add", keys, key_pe)
        attn_out = _token_to_image_attention(graph, decoder, f"{name}.cross_attn_token_to_image", q, k, keys)
        queries = graph.layer_norm(graph.op("Add", queries, attn_out), f"{name}.layer_norm2", decoder.eps)

        mlp_out = graph.op("Relu", graph.linear(queries, f"{name}.mlp.lin1"))
        queries = graph.op("Add", queries, graph.linear(mlp_out, f"{name}.mlp.lin2"))
        queries = graph.layer_norm(queries, f"{name}.layer_norm3", decoder.eps)

        q = graph.op("Add", queries, query_pe)
        attn_out = _image_to_token_attention(
            graph, decoder, f"{name}.cross_attn_image_to_token", k, q, queries, attn_mask
        )
        keys = graph.layer_norm(graph.op("Add", keys, attn_out), f"{name}.layer_norm4", decoder.eps)
    q, k = graph.op("Add", queries, query_pe), graph.op("Add", keys, key_pe)
    attn_out = _token_to_image_attention(graph, decoder, f"{root}.final_attn_token_to_image", q, k, keys)
    # The only normalization for which the reference keeps PyTorch's default epsilon.
    queries = graph.layer_norm(graph.op("Add", queries, attn_out), f"{root}.layer_norm_final_attn", 1e-5)
    return queries, keys


def _self_attention(
    graph: GraphBuilder, decoder: DecoderConfig, name: str, q: Value, v: Value, attn_mask: Value
) -> Value:
    """Self-attention of tokens [B, N, D]; keys equal queries."""
    heads, head_size = decoder.heads, decoder.hidden_size // decoder.heads
    projected = [graph.linear(source, f"{name}.{part}_proj") for part, source in (("q", q), ("k", q), ("v", v))]
    q, k, v = (_separate_heads(graph, each, heads, head_size) for each in projected)  # [B, nH, N, C]
    attn = graph.op("MatMul", q, graph.transpose(k, 0, 1, 3, 2))
    attn = graph.op("Add", graph.op("Mul", attn, graph.constant(head_size**-0.5)), attn_mask)
    attn_out = graph.op("MatMul", graph.op("Softmax", attn, axis=-1), v)
    return graph.linear(_recombine_heads(graph, attn_out, decoder.hidden_size), f"{name}.out_proj")


def _separate_heads(graph: GraphBuilder, value: Value, heads: int, head_size: int) -> Value:
    """[B, N, nH × C] to [B, nH, N, C]."""
    return graph.transpose(graph.reshape(value, 0, -1, heads, head_size), 0, 2, 1, 3)


def _recombine_heads(graph: GraphBuilder, value: Value, inner: int) -> Value:
    """[B, nH, N, C] to [B, N, nH × C]."""
    return graph.reshape(graph.transpose(value, 0, 2, 1, 3), 0, -1, inner)


def _weight_by_head(graph: GraphBuilder, decoder: DecoderConfig, name: str) -> Value:
    """A projection's weight as [nH, C, D]."""
    return graph.reshape(graph.weight(f"{name}.weight"), decoder.heads, -1, decoder.hidden_size)


def _inner_size(graph: GraphBuilder, name: str) -> int:
    """nH × C of a cross attention; the configuration specifies it for one of them only."""
    return graph.weights.tensors[f"{name}.q_proj.weight"].shape[0]


def _token_to_image_attention(
    graph: GraphBuilder, decoder: DecoderConfig, name: str, q: Value, k: Value, v: Value
) -> Value:
    """Tokens [B, N, D] attend to patches [B, P, D], whose projections are folded into the tokens."""
    dim, inner = decoder.hidden_size, _inner_size(graph, name)
    head_size = inner // decoder.heads
    q = _separate_heads(graph, graph.linear(q, f"{name}.q_proj"), decoder.heads, head_size)  # [B, nH, N, C]
    q = graph.op("Mul", q, graph.constant(head_size**-0.5))
    folded = graph.op("MatMul", q, _weight_by_head(graph, decoder, f"{name}.k_proj"))  # [B, nH, N, D]
    attn = graph.op("MatMul", graph.reshape(folded, 0, -1, dim), graph.transpose(k, 0, 2, 1))  # [B, nH × N, P]
    # A softmax that divides after 4096 patches have become 256 channels.
    last = graph.constant([-1], np.int64)
    powers = graph.op("Exp", graph.op("Sub", attn, graph.op("ReduceMax", attn, last)))
    attn_out = graph.op("Div", graph.op("MatMul", powers, v), graph.op("ReduceSum", powers, last))
    attn_out = graph.op("Reshape", attn_out, graph.op("Shape", folded))  # [B, nH, N, D]
    v_weight = graph.transpose(_weight_by_head(graph, decoder, f"{name}.v_proj"), 0, 2, 1)  # [nH, D, C]
    attn_out = _recombine_heads(graph, graph.op("MatMul", attn_out, v_weight), inner)  # [B, N, nH × C]
    # Attention weights add up to one, so the values' bias can be added afterwards.
    attn_out = graph.op("Add", attn_out, graph.weight(f"{name}.v_proj.bias"))
    return graph.linear(attn_out, f"{name}.out_proj")


def _image_to_token_attention(
    graph: GraphBuilder, decoder: DecoderConfig, name: str, q: Value, k: Value, v: Value, attn_mask: Value
) -> Value:
    """Patches [B, P, D] attend to tokens [B, N, D], into which the patches' projections are folded again."""
    heads, dim = decoder.heads, decoder.hidden_size
    inner = _inner_size(graph, name)
    head_size = inner // heads
    k = _separate_heads(graph, graph.linear(k, f"{name}.k_proj"), heads, head_size)  # [B, nH, N, C]
    k = graph.op("Mul", k, graph.constant(head_size**-0.5))
    folded = graph.op("MatMul", k, _weight_by_head(graph, decoder, f"{name}.q_proj"))  # [B, nH, N, D]
    q_bias = graph.reshape(graph.weight(f"{name}.q_proj.bias"), heads, head_size, 1)
    bias = graph.op("Add", graph.op("MatMul", k, q_bias), graph.transpose(attn_mask, 0, 1, 3, 2))  # [B, nH, N, 1]
    attn = graph.op("MatMul", graph.reshape(folded, 0, -1, dim), graph.transpose(q, 0, 2, 1))  # [B, nH × N, P]
    rest = graph.constant([-1], np.int64)
    shape = graph.op("Concat", graph.slice(graph.op("Shape", bias), 0, 3), rest, axis=0)
    attn = graph.op("Add", graph.op("Reshape", attn, shape), bias)  # [B, nH, N, P]
    attn = graph.op("Softmax", attn, axis=2)
    attn_shape = graph.op("Shape", attn)
    shape = graph.op("Concat", graph.slice(attn_shape, 0, 1), rest, graph.slice(attn_shape, 3, 4), axis=0)
    attn = graph.op("Reshape", attn, shape)  # [B, nH × N, P]
    v = _separate_heads(graph, graph.linear(v, f"{name}.v_proj"), heads, head_size)  # [B, nH, N, C]
    out_weight = graph.transpose(graph.weight(f"{name}.out_proj.weight"), 1, 0)
    out_weight = graph.reshape(out_weight, heads, head_size, dim)
    folded_v = graph.reshape(graph.op("MatMul", v, out_weight), 0, -1, dim)  # [B, nH × N, D]
    attn_out = graph.op("MatMul", graph.transpose(attn, 0, 2, 1), folded_v)  # [B, P, D]
    return graph.op("Add", attn_out, graph.weight(f"{name}.out_proj.bias"))


def _token(graph: GraphBuilder, tokens: Value, index: int) -> Value:
    """[B, 1, D]."""
    return graph.slice(tokens, index, index + 1, axis=1)


def _mlp(graph: GraphBuilder, value: Value, name: str, depth: int) -> Value:
    name = f"mask_decoder.{name}"
    layers = ["proj_in", *(f"layers.{index}" for index in range(depth - 2)), "proj_out"]
    for layer in layers[:-1]:
        value = graph.op("Relu", graph.linear(value, f"{name}.{layer}"))
    return graph.linear(value, f"{name}.{layers[-1]}")


def _upscale(graph: GraphBuilder, keys: Value, grid: int, dim: int) -> Value:
    """[B, P, D] to [B, 4 × grid, 4 × grid, D / 8]."""
    name = "mask_decoder.upscale"
    value = _transposed_conv(graph, keys, f"{name}_conv1", dim, dim // 4)
    value = graph.reshape(value, 0, -1, dim // 4)  # [B, 4 × P, D / 4]
    value = graph.op("Gelu", graph.layer_norm(value, f"{name}_layer_norm", 1e-6))
    value = graph.op("Gelu", _transposed_conv(graph, value, f"{name}_conv2", dim // 4, dim // 8))
    # The axes are row and column of the patch, of its quarter, and of the quarter's quarter.
    value = graph.reshape(value, -1, grid, grid, 2, 2, 2, 2, dim // 8)
    value = graph.transpose(value, 0, 1, 3, 5, 2, 4, 6, 7)
    return graph.reshape(value, -1, 4 * grid, 4 * grid, dim // 8)


def _transposed_conv(graph: GraphBuilder, value: Value, name: str, inputs: int, outputs: int) -> Value:
    """A transposed convolution of stride 2 whose pixels are not rearranged: [B, n, inputs] to [B, n, 4 × outputs]."""
    kernel = graph.transpose(graph.weight(f"{name}.weight"), 0, 2, 3, 1)
    bias = graph.op("Tile", graph.weight(f"{name}.bias"), graph.constant([4], np.int64))
    return graph.op("Add", graph.op("MatMul", value, graph.reshape(kernel, inputs, 4 * outputs)), bias)


def _hq_logits(graph: GraphBuilder, upscaled: Value, hq_features: Value, hq_token: Value, side: int, dim: int) -> Value:
    """The HQ token's dot product with the refined features, [B, 1, side, side]."""
    narrow, wide, name = dim // 8, dim // 4, "mask_decoder.mask"
    # The kernels' mean over the output channels is subtracted here, so that normalization need not subtract it.
    weight, bias = (graph.array(f"{name}_conv1.{part}") for part in ("weight", "bias"))
    centred = graph.constant(weight - weight.mean(axis=0)), graph.constant(bias - bias.mean())
    value = graph.op("Conv", graph.transpose(upscaled, 0, 3, 1, 2), *centred, pads=[1, 1, 1, 1])
    variance = graph.op("ReduceMean", graph.op("Mul", value, value), graph.constant([1], np.int64))
    deviation = graph.op("Sqrt", graph.op("Add", variance, graph.constant(1e-6)))
    scale, shift = (graph.reshape(graph.weight(f"{name}_norm.{part}"), 1, wide, 1, 1) for part in ("weight", "bias"))
    value = graph.op("Add", graph.op("Mul", graph.op("Div", value, deviation), scale), shift)
    value = graph.transpose(graph.op("Gelu", value), 0, 2, 3, 1)
    value = graph.reshape(value, 0, side * side, wide)
    # The second convolution with the token folded into its kernel.
    kernel = graph.transpose(graph.weight(f"{name}_conv2.weight"), 0, 2, 3, 1)
    taps = graph.op("MatMul", hq_token, graph.reshape(kernel, narrow, 9 * wide))
    taps = graph.reshape(taps, 0, 9, wide)  # [B, 9, D / 4]
    maps = graph.reshape(graph.op("MatMul", taps, graph.transpose(value, 0, 2, 1)), 0, 9, side, side)
    shift_and_add = graph.constant(np.eye(9).reshape(1, 9, 3, 3))
    refined = graph.op("Conv", maps, shift_and_add, pads=[1, 1, 1, 1])  # [B, 1, side, side]
    features = graph.op(
        "Add",
        graph.reshape(hq_features, 1, narrow, side * side),
        graph.reshape(graph.weight(f"{name}_conv2.bias"), narrow, 1),
    )
    return graph.op("Add", refined, graph.reshape(graph.op("MatMul", hq_token, features), 0, 1, side, side))
