"""The mask decoder as an ONNX graph: SAM's two-way transformer, and upscaling that adds the two finer maps.

Cells stay in the nested order of `encoder.nested_order` until there is one number for each: rearranging four maps of
logits costs an eighth of rearranging 32 channels.

In the shapes, B is the number of objects, N of tokens, P = grid² of cells, and D the hidden size.
"""

from maskery.models.sam.decoder import (
    add_output_tokens,
    embed_masks,
    mlp,
    token_at,
    transposed_conv,
    two_way_transformer,
)
from maskery.models.sam.graph import GraphBuilder, Value
from maskery.models.sam2.config import Sam2Config


def build_decoder(graph: GraphBuilder, config: Sam2Config, with_masks: bool) -> None:
    """Add the decoder's inputs, nodes and outputs, for any number of objects and tokens.

    - ``embedding``, ``fine`` and ``finest`` float32, as the encoder returns them;
    - ``prompt`` float32 [B, N, D] and ``attn_mask`` float32 [B, N], as `PromptEncoder` returns them;
    - ``masks`` float32 [B, 1, side, side], logits of mask prompts, if `with_masks`;
    - ``logits`` float32 [B, 4, side, side], the single mask and the three of the multimask mode;
    - ``scores`` float32 [B, 4], predicted IoU.

    The object score, which tells whether a tracked object is visible in a video frame, is not computed: the authors'
    image predictor does not use it.
    """
    grid, decoder, side = config.grid, config.decoder, config.low_resolution
    outputs, dim = decoder.multimask + 1, decoder.hidden_size
    embedding = graph.input("embedding", (1, grid**2, dim))
    fine = graph.input("fine", (1, 4 * grid**2, dim // 4))
    finest = graph.input("finest", (1, 16 * grid**2, dim // 8))
    prompt = graph.input("prompt", ("objects", "tokens", dim))
    attn_mask = graph.input("attn_mask", ("objects", "tokens"))
    if with_masks:
        masks = graph.input("masks", ("objects", 1, side, side))
        dense_prompt = embed_masks(graph, masks, grid, decoder, 1e-6)
    else:
        dense_prompt = graph.weight("prompt_encoder.no_mask_embed.weight")
    names = ("obj_score_token", "iou_token", "mask_tokens")
    tokens, attn_mask = add_output_tokens(graph, names, prompt, attn_mask)
    keys = graph.op("Add", embedding, dense_prompt)
    queries, keys = two_way_transformer(graph, decoder, grid, tokens, keys, attn_mask)

    upscaled = _upscale(graph, keys, fine, finest, dim)  # [B, 16 × P, D / 8]
    hyper = [
        mlp(graph, token_at(graph, queries, 2 + index), f"output_hypernetworks_mlps.{index}", 3)
        for index in range(outputs)
    ]
    hyper_in = graph.op("Concat", *hyper, axis=1)  # [B, outputs, D / 8]
    logits = graph.op("MatMul", hyper_in, graph.transpose(upscaled, 0, 2, 1))  # [B, outputs, 16 × P]
    logits = graph.reshape(logits, -1, outputs, grid, grid, 2, 2, 2, 2)
    logits = graph.transpose(logits, 0, 1, 2, 4, 6, 3, 5, 7)
    graph.output("logits", graph.reshape(logits, -1, outputs, side, side), ("objects", outputs, side, side))
    scores = graph.op("Sigmoid", mlp(graph, token_at(graph, queries, 1), "iou_prediction_head", decoder.iou_depth))
    graph.output("scores", graph.reshape(scores, -1, outputs), ("objects", outputs))


def _upscale(graph: GraphBuilder, keys: Value, fine: Value, finest: Value, dim: int) -> Value:
    """[B, P, D] to [B, 16 × P, D / 8], in the nested order."""
    name = "mask_decoder.upscale"
    value = graph.reshape(transposed_conv(graph, keys, f"{name}_conv1", dim, dim // 4), 0, -1, dim // 4)
    value = graph.op("Gelu", graph.layer_norm(graph.op("Add", value, fine), f"{name}_layer_norm", 1e-6))
    value = graph.reshape(transposed_conv(graph, value, f"{name}_conv2", dim // 4, dim // 8), 0, -1, dim // 8)
    return graph.op("Gelu", graph.op("Add", value, finest))
