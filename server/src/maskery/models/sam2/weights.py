"""The tensors of SAM 2 and EdgeTAM, by the names under which transformers saves `Sam2Model` and `EdgeTamModel`.

The video models hold the same tensors and more; tensors that are not named here are not read.
"""

from collections.abc import Mapping

from maskery.models.sam.weights import Shape, Shapes, TensorInfo, affine, attention, mlp, transposed
from maskery.models.sam2.config import RepVitConfig, Sam2Config

# Twice in a file, or once under either name.
POSITIONS = ("shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding")


def expected_shapes(config: Sam2Config) -> dict[str, Shape]:
    """Every tensor of the network."""
    shapes: dict[str, Shape] = dict.fromkeys(POSITIONS, (2, config.decoder.hidden_size // 2))
    shapes["no_memory_embedding"] = (1, 1, config.channels)
    shapes.update(_repvit(config.backbone) if isinstance(config.backbone, RepVitConfig) else _hiera(config))
    shapes.update(_neck(config))
    shapes.update(_prompt(config))
    shapes.update(_decoder(config))
    return shapes


def with_sam_names(tensors: Mapping[str, TensorInfo]) -> dict[str, TensorInfo]:
    """The tensors, and those of the two-way transformer also under the names that SAM has for them."""
    names = {".o_proj.": ".out_proj.", ".mlp.proj_in.": ".mlp.lin1.", ".mlp.proj_out.": ".mlp.lin2."}
    renamed = {
        name.replace(own, sam): info
        for name, info in tensors.items()
        for own, sam in names.items()
        if name.startswith("mask_decoder.transformer.") and own in name
    }
    return {**tensors, **renamed}


def _hiera(config: Sam2Config) -> Shapes:
    backbone, root = config.backbone, "vision_encoder.backbone"
    assert not isinstance(backbone, RepVitConfig)  # noqa: S101 - the caller has looked
    width = backbone.widths[0]
    yield from affine(f"{root}.patch_embed.projection", (width, 3, backbone.patch_kernel, backbone.patch_kernel))
    yield f"{root}.pos_embed", (1, width, *backbone.positions)
    yield f"{root}.pos_embed_window", (1, width, backbone.windows[0], backbone.windows[0])
    for index, block in enumerate(backbone.blocks(config.image_size)):
        name, inner = f"{root}.blocks.{index}", int(block.width * backbone.mlp_ratio)
        yield from affine(f"{name}.layer_norm1", (block.width_in,))
        yield from affine(f"{name}.attn.qkv", (3 * block.width, block.width_in))
        yield from affine(f"{name}.attn.proj", (block.width, block.width))
        yield from affine(f"{name}.layer_norm2", (block.width,))
        yield from affine(f"{name}.mlp.proj_in", (inner, block.width))
        yield from affine(f"{name}.mlp.proj_out", (block.width, inner))
        if block.width_in != block.width:
            yield from affine(f"{name}.proj", (block.width, block.width_in))


def _repvit(config: RepVitConfig) -> Shapes:
    root, width = "vision_encoder.backbone.timm_model", config.widths[0]
    yield from _fused(f"{root}.stem.conv1", (width // 2, 3, 3, 3))
    yield from _fused(f"{root}.stem.conv2", (width, width // 2, 3, 3))
    for stage, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
        name = f"{root}.stages_{stage}"
        if stage:
            before = config.widths[stage - 1]
            yield from _repvit_block(f"{name}.downsample.pre_block", before, squeeze=False)
            yield from _fused(f"{name}.downsample.spatial_downsample", (before, 1, 3, 3))
            yield from _fused(f"{name}.downsample.channel_downsample", (width, before, 1, 1))
            yield from _repvit_mlp(f"{name}.downsample.ffn", width)
        for block in range(depth):
            yield from _repvit_block(f"{name}.blocks.{block}", width, squeeze=block % 2 == 0)


def _repvit_block(name: str, width: int, squeeze: bool) -> Shapes:
    yield from _fused(f"{name}.token_mixer.conv", (width, 1, 3, 3))
    yield from _fused(f"{name}.token_mixer.conv1", (width, 1, 1, 1))
    if squeeze:
        # timm rounds a quarter of the width to a multiple of 8.
        inner = max(8, int(width / 4 + 4) // 8 * 8)
        yield from affine(f"{name}.se.fc1", (inner, width, 1, 1))
        yield from affine(f"{name}.se.fc2", (width, inner, 1, 1))
    yield from _repvit_mlp(f"{name}.channel_mixer", width)


def _repvit_mlp(name: str, width: int) -> Shapes:
    yield from _fused(f"{name}.conv1", (2 * width, width, 1, 1))
    yield from _fused(f"{name}.conv2", (width, 2 * width, 1, 1))


def _fused(name: str, kernel: Shape) -> Shapes:
    """A convolution without bias, and a batch normalisation."""
    yield f"{name}.c.weight", kernel
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.bn.{part}", kernel[:1]


def _neck(config: Sam2Config) -> Shapes:
    for index, width in enumerate(reversed(config.backbone.widths)):
        yield from affine(f"vision_encoder.neck.convs.{index}", (config.channels, width, 1, 1))


def _prompt(config: Sam2Config) -> Shapes:
    hidden, channels = config.decoder.hidden_size, config.decoder.mask_channels
    yield "prompt_encoder.point_embed.weight", (4, hidden)
    for token in ("no_mask_embed", "not_a_point_embed"):
        yield f"prompt_encoder.{token}.weight", (1, hidden)
    name = "prompt_encoder.mask_embed"
    yield from affine(f"{name}.conv1", (channels // 4, 1, 2, 2))
    yield from affine(f"{name}.layer_norm1", (channels // 4,))
    yield from affine(f"{name}.conv2", (channels, channels // 4, 2, 2))
    yield from affine(f"{name}.layer_norm2", (channels,))
    yield from affine(f"{name}.conv3", (hidden, channels, 1, 1))


def _decoder(config: Sam2Config) -> Shapes:
    decoder = config.decoder
    hidden, inner, outputs = decoder.hidden_size, decoder.hidden_size // decoder.downsample, decoder.multimask + 1
    for token, count in (("obj_score_token", 1), ("iou_token", 1), ("mask_tokens", outputs)):
        yield f"mask_decoder.{token}.weight", (count, hidden)
    for layer in range(decoder.layers):
        name = f"mask_decoder.transformer.layers.{layer}"
        yield from attention(f"{name}.self_attn", hidden, hidden, "o_proj")
        yield from attention(f"{name}.cross_attn_token_to_image", hidden, inner, "o_proj")
        yield from attention(f"{name}.cross_attn_image_to_token", hidden, inner, "o_proj")
        yield from affine(f"{name}.mlp.proj_in", (decoder.mlp_dim, hidden))
        yield from affine(f"{name}.mlp.proj_out", (hidden, decoder.mlp_dim))
        for norm in range(1, 5):
            yield from affine(f"{name}.layer_norm{norm}", (hidden,))
    yield from attention("mask_decoder.transformer.final_attn_token_to_image", hidden, inner, "o_proj")
    yield from affine("mask_decoder.transformer.layer_norm_final_attn", (hidden,))
    yield from transposed("mask_decoder.upscale_conv1", hidden, hidden // 4)
    yield from affine("mask_decoder.upscale_layer_norm", (hidden // 4,))
    yield from transposed("mask_decoder.upscale_conv2", hidden // 4, hidden // 8)
    for output in range(outputs):
        yield from mlp(f"mask_decoder.output_hypernetworks_mlps.{output}", hidden, hidden, hidden // 8, 3)
    yield from mlp("mask_decoder.iou_prediction_head", hidden, decoder.iou_hidden, outputs, decoder.iou_depth)
    yield from mlp("mask_decoder.pred_obj_score_head", hidden, hidden, 1, 3)
    yield from affine("mask_decoder.conv_s0", (hidden // 8, config.channels, 1, 1))
    yield from affine("mask_decoder.conv_s1", (hidden // 4, config.channels, 1, 1))
