"""The mask decoder as an ONNX graph: SAM's two-way transformer, and upscaling that adds the two finer maps.

Cells stay in the nested order of `encoder.nested_order` until there is one number for each: moving four maps of logits
costs an eighth of moving 32 channels.
"""

import numpy as np

from maskery.models.sam.decoder import embed_masks, feed_forward, output_tokens, token_at, two_way_transformer
from maskery.models.sam.graph import Graph, Value
from maskery.models.sam2.config import Sam2Config


def write_decoder(graph: Graph, config: Sam2Config, with_masks: bool) -> None:
    """Inputs and outputs of the graph, for any number of objects and of tokens each:

    - ``embedding``, ``fine`` and ``finest`` float32, as the encoder answers them;
    - ``prompt`` float32 [objects, tokens, channels] and ``attn_mask`` float32 [objects, tokens], as `PromptEncoder`
      makes them;
    - ``masks`` float32 [objects, 1, side, side], logits of a mask prompt, if `with_masks`;
    - ``logits`` float32 [objects, 4, side, side], the single mask and the three of the multimask mode;
    - ``scores`` float32 [objects, 4], predicted IoU;
    - ``object_score`` float32 [objects, 1], the logit of whether there is an object at the prompt.
    """
    grid, decoder, side = config.grid, config.decoder, config.low_resolution
    outputs, channels = decoder.multimask + 1, decoder.hidden_size
    embedding = graph.input("embedding", np.float32, (1, grid**2, channels))
    fine = graph.input("fine", np.float32, (1, 4 * grid**2, channels // 4))
    finest = graph.input("finest", np.float32, (1, 16 * grid**2, channels // 8))
    prompt = graph.input("prompt", np.float32, ("objects", "tokens", channels))
    attn_mask = graph.input("attn_mask", np.float32, ("objects", "tokens"))
    if with_masks:
        masks = graph.input("masks", np.float32, ("objects", 1, side, side))
        dense = embed_masks(graph, masks, grid, decoder)
    else:
        dense = graph.weight("prompt_encoder.no_mask_embed.weight")
    names = ("obj_score_token", "iou_token", "mask_tokens")
    tokens, attn_mask = output_tokens(graph, names, prompt, attn_mask)
    keys = graph.op("Add", embedding, dense)
    queries, keys = two_way_transformer(graph, decoder, grid, tokens, keys, attn_mask)

    upscaled = _upscale(graph, keys, fine, finest, channels)  # [objects, 16 × grid², channels / 8]
    answers = [
        feed_forward(graph, token_at(graph, queries, 2 + index), f"output_hypernetworks_mlps.{index}", 3)
        for index in range(outputs)
    ]
    hyper = graph.op("Concat", *answers, axis=1)  # [objects, outputs, channels / 8]
    logits = graph.op("MatMul", hyper, graph.transpose(upscaled, 0, 2, 1))
    nested = graph.reshape(logits, -1, outputs, grid, grid, 2, 2, 2, 2)
    placed = graph.transpose(nested, 0, 1, 2, 4, 6, 3, 5, 7)
    graph.output("logits", graph.reshape(placed, -1, outputs, side, side), ("objects", outputs, side, side))
    scores = graph.op("Sigmoid", feed_forward(graph, token_at(graph, queries, 1), "iou_prediction_head", decoder.iou_depth))
    graph.output("scores", graph.reshape(scores, -1, outputs), ("objects", outputs))
    score = feed_forward(graph, token_at(graph, queries, 0), "pred_obj_score_head", 3)
    graph.output("object_score", graph.reshape(score, -1, 1), ("objects", 1))


def _upscale(graph: Graph, keys: Value, fine: Value, finest: Value, channels: int) -> Value:
    """[objects, grid², channels] to [objects, 16 × grid², channels / 8], in the nested order."""
    name = "mask_decoder.upscale"
    once = _double(graph, keys, f"{name}_conv1", channels, channels // 4)
    once = graph.layer_norm(graph.op("Add", once, fine), f"{name}_layer_norm", 1e-6)
    twice = _double(graph, graph.op("Gelu", once), f"{name}_conv2", channels // 4, channels // 8)
    return graph.op("Gelu", graph.op("Add", twice, finest))


def _double(graph: Graph, value: Value, name: str, channels: int, narrower: int) -> Value:
    """A transposed convolution of stride 2: [objects, n, channels] to [objects, 4 × n, narrower], each cell's four in a row."""
    kernel = graph.transpose(graph.weight(f"{name}.weight"), 0, 2, 3, 1)
    cells = graph.op("MatMul", value, graph.reshape(kernel, channels, 4 * narrower))
    cells = graph.reshape(cells, 0, -1, narrower)
    return graph.op("Add", cells, graph.weight(f"{name}.bias"))
