"""The sizes of a SAM 2 or EdgeTAM network, from the `config.json` that transformers writes.

Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024; Ryali et al., Hiera, ICML 2023; Zhou et al., EdgeTAM,
CVPR 2025; Wang et al., RepViT, CVPR 2024.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from maskery.models.sam.config import DecoderConfig, UnsupportedModel, describing_a_network

#: Values of `model_type`. The video models contain the image model; what only videos need is not read.
HIERA_TYPES = ("sam2", "sam2_video")
REPVIT_TYPES = ("edgetam", "edgetam_video")
MODEL_TYPES = (*HIERA_TYPES, *REPVIT_TYPES)

# Far more blocks, masks or layers than any network has: a config.json that asks for more is damaged.
_MAX_REPEATS = 512


@dataclass(frozen=True)
class Block:
    """One block of the Hiera backbone.

    Attributes:
        width_in, width: channels before and after.
        heads: of the attention.
        grid: tokens along a side, before pooling.
        window: side of an attention window in tokens, before pooling; 0 for attention over the whole image.
        pools: whether queries are pooled, which halves the grid.
        ends_stage: whether its output is a feature map of the neck.
    """

    width_in: int
    width: int
    heads: int
    grid: int
    window: int
    pools: bool
    ends_stage: bool


@dataclass(frozen=True)
class HieraConfig:
    """The Hiera backbone: a vision transformer whose grid halves between stages.

    Attributes:
        widths, depths, heads, windows: channels, blocks, attention heads and window side by stage.
        global_blocks: blocks that attend to the whole image.
        mlp_ratio: inner width of a block's MLP over its width.
        patch_kernel, patch_stride, patch_padding: of the convolution that makes tokens from pixels.
        positions: (rows, columns) of the positional embedding that is stretched over the grid.
        pooled_stages: stages, after the first, that begin with pooling.
        eps: of layer normalisation.
    """

    widths: tuple[int, ...] = (96, 192, 384, 768)
    depths: tuple[int, ...] = (1, 2, 7, 2)
    heads: tuple[int, ...] = (1, 2, 4, 8)
    windows: tuple[int, ...] = (8, 4, 14, 7)
    global_blocks: tuple[int, ...] = (5, 7, 9)
    mlp_ratio: float = 4.0
    patch_kernel: int = 7
    patch_stride: int = 4
    patch_padding: int = 3
    positions: tuple[int, int] = (7, 7)
    pooled_stages: int = 3
    eps: float = 1e-6

    def blocks(self, image_size: int) -> Iterator[Block]:
        """All blocks, in order."""
        grid, width_in, number = image_size // self.patch_stride, self.widths[0], 0
        for stage, depth in enumerate(self.depths):
            for index in range(depth):
                begins = stage > 0 and index == 0
                window = self.windows[stage - 1 if begins else stage]
                yield Block(
                    width_in,
                    self.widths[stage],
                    self.heads[stage],
                    grid,
                    0 if number in self.global_blocks else window,
                    pools := begins and stage <= self.pooled_stages,
                    ends_stage=index == depth - 1,
                )
                grid //= 2 if pools else 1
                width_in, number = self.widths[stage], number + 1


@dataclass(frozen=True)
class RepVitConfig:
    """The RepViT backbone of EdgeTAM, `repvit_m1` of the library timm: its sizes are not in `config.json`.

    Attributes:
        widths, depths: channels and blocks by stage.
    """

    widths: tuple[int, ...] = (48, 96, 192, 384)
    depths: tuple[int, ...] = (2, 2, 14, 2)


@dataclass(frozen=True)
class Sam2Config:
    """All sizes of a network.

    Attributes:
        architecture: the value of `model_type`.
        image_size: side of the square input, in pixels.
        channels: of the feature maps, and the hidden size of the decoder.
        stability_delta, stability_threshold: a single mask whose area at logits above ``stability_delta`` is less than
            this share of its area above ``-stability_delta`` is replaced by the best of the multimask outputs; a
            threshold of 0 turns this off.
    """

    architecture: str
    image_size: int
    channels: int
    backbone: HieraConfig | RepVitConfig
    decoder: DecoderConfig
    stability_delta: float = 0.05
    stability_threshold: float = 0.98

    @property
    def grid(self) -> int:
        """Cells of the embedding along a side; the two finer maps have twice and four times as many."""
        return self.image_size // 16

    @property
    def low_resolution(self) -> int:
        """Side of the decoder's square output, in logits."""
        return 4 * self.grid

    @classmethod
    def parse(cls, document: dict[str, Any]) -> "Sam2Config":
        """The sizes in the content of a `config.json`; missing fields have transformers' defaults.

        Raises:
            UnsupportedModel: another architecture, or impossible sizes.
        """
        kind = document.get("model_type")
        if kind not in MODEL_TYPES:
            raise UnsupportedModel(f"config.json has the model type {kind!r}; supported are {', '.join(MODEL_TYPES)}")
        with describing_a_network():
            config = _read(kind, document)
            _check(config)
        return config


def _read(kind: str, document: dict[str, Any]) -> Sam2Config:
    vision, prompt, decoder = (
        document.get(f"{part}_config") or {} for part in ("vision", "prompt_encoder", "mask_decoder")
    )
    image_size = _side(prompt.get("image_size", 1024), "prompt_encoder_config.image_size")
    if _side(prompt.get("patch_size", 16), "prompt_encoder_config.patch_size") != 16:
        raise ValueError(f"prompt_encoder_config.patch_size is {prompt['patch_size']}; only 16 is supported")
    for name, only in (
        ("fpn_kernel_size", 1),
        ("fpn_stride", 1),
        ("fpn_padding", 0),
        ("fpn_top_down_levels", [2, 3]),
        ("num_feature_levels", 3),
    ):
        if vision.get(name) not in (None, only):
            raise ValueError(f"vision_config.{name} is {vision[name]!r}; only {only!r} is supported")
    hiera = kind in HIERA_TYPES
    backbone = _hiera(vision.get("backbone_config") or {}, image_size) if hiera else _repvit(vision)
    for fields, name in ((prompt, "prompt_encoder_config"), (decoder, "mask_decoder_config")):
        if fields.get("hidden_act", "gelu") != "gelu":
            raise ValueError(f"{name}.hidden_act is {fields['hidden_act']!r}; only 'gelu' is supported")
    default = DecoderConfig()
    by_stability = decoder.get("dynamic_multimask_via_stability", True)
    return Sam2Config(
        architecture=kind,
        image_size=image_size,
        channels=int(vision.get("fpn_hidden_size", 256)),
        backbone=backbone,
        decoder=DecoderConfig(
            hidden_size=int(decoder.get("hidden_size", default.hidden_size)),
            layers=int(decoder.get("num_hidden_layers", default.layers)),
            heads=int(decoder.get("num_attention_heads", default.heads)),
            mlp_dim=int(decoder.get("mlp_dim", default.mlp_dim)),
            downsample=int(decoder.get("attention_downsample_rate", default.downsample)),
            multimask=int(decoder.get("num_multimask_outputs", default.multimask)),
            iou_depth=int(decoder.get("iou_head_depth", default.iou_depth)),
            iou_hidden=int(decoder.get("iou_head_hidden_dim", default.iou_hidden)),
            mask_channels=int(prompt.get("mask_input_channels", default.mask_channels)),
            # transformers builds the decoder's layer normalisation with PyTorch's default.
            eps=1e-5,
        ),
        stability_delta=float(decoder.get("dynamic_multimask_stability_delta", 0.05)),
        stability_threshold=float(decoder.get("dynamic_multimask_stability_thresh", 0.98)) if by_stability else 0.0,
    )


def _hiera(fields: dict[str, Any], image_size: int) -> HieraConfig:
    default = HieraConfig()
    if fields.get("hidden_act", "gelu") != "gelu":
        raise ValueError(f"backbone_config.hidden_act is {fields['hidden_act']!r}; only 'gelu' is supported")
    if _side(fields.get("query_stride") or 2, "backbone_config.query_stride") != 2:
        raise ValueError(f"backbone_config.query_stride is {fields['query_stride']!r}; only 2 is supported")
    if _side(fields.get("image_size") or image_size, "backbone_config.image_size") != image_size:
        raise ValueError("backbone_config.image_size and prompt_encoder_config.image_size differ")

    def numbers(name: str, otherwise: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(int(each) for each in fields.get(name) or otherwise)

    positions = numbers("window_positional_embedding_background_size", default.positions)
    return HieraConfig(
        widths=numbers("embed_dim_per_stage", default.widths),
        depths=numbers("blocks_per_stage", default.depths),
        heads=numbers("num_attention_heads_per_stage", default.heads),
        windows=numbers("window_size_per_stage", default.windows),
        global_blocks=numbers("global_attention_blocks", default.global_blocks),
        mlp_ratio=float(fields.get("mlp_ratio", default.mlp_ratio)),
        patch_kernel=_side(fields.get("patch_kernel_size") or default.patch_kernel, "patch_kernel_size"),
        patch_stride=_side(fields.get("patch_stride") or default.patch_stride, "patch_stride"),
        patch_padding=_side(fields.get("patch_padding") or default.patch_padding, "patch_padding"),
        positions=(positions[0], positions[-1]),
        pooled_stages=int(fields.get("num_query_pool_stages", default.pooled_stages)),
        eps=float(fields.get("layer_norm_eps", default.eps)),
    )


def _repvit(vision: dict[str, Any]) -> RepVitConfig:
    fields = vision.get("backbone_config") or {}
    name = fields.get("architecture") or fields.get("model_name") or "repvit_m1"
    if str(name).partition(".")[0] != "repvit_m1":
        raise ValueError(f"vision_config.backbone_config names the backbone {name!r}; only repvit_m1 is supported")
    return RepVitConfig()


def _side(value: Any, name: str) -> int:
    """A size that is given as one number, or as two equal ones."""
    sides = {int(each) for each in (value if isinstance(value, list | tuple) else [value])}
    if len(sides) != 1:
        raise ValueError(f"{name} is {value!r}; only squares are supported")
    return sides.pop()


def _check(config: Sam2Config) -> None:
    decoder, backbone = config.decoder, config.backbone
    if min(config.image_size, decoder.hidden_size, decoder.heads, decoder.downsample, decoder.multimask) < 1:
        raise ValueError("sizes must be above 0")
    if config.image_size % 32:
        raise ValueError("the image size is not a multiple of 32")
    if decoder.layers != 2:
        raise ValueError(f"the decoder has {decoder.layers} layers; only 2 are supported")
    if config.channels != decoder.hidden_size or decoder.hidden_size % 8:
        raise ValueError("the neck's channels and the decoder's hidden size differ, or are not a multiple of 8")
    if decoder.hidden_size % (decoder.heads * decoder.downsample):
        raise ValueError("the decoder's heads do not divide its hidden size")
    for name, count, least in (
        ("multimask outputs", decoder.multimask, 1),
        ("layers of the IoU head", decoder.iou_depth, 2),
    ):
        if not least <= count <= _MAX_REPEATS:
            raise ValueError(f"there are {count} {name}; supported are between {least} and {_MAX_REPEATS}")
    if isinstance(backbone, RepVitConfig):
        return
    stages = {len(each) for each in (backbone.widths, backbone.depths, backbone.heads, backbone.windows)}
    if stages != {4} or backbone.pooled_stages != 3 or backbone.patch_stride != 4:
        raise ValueError("only four stages are supported, of which three begin with pooling, on patches of 4 pixels")
    if not 4 <= sum(backbone.depths) <= _MAX_REPEATS or min(backbone.depths) < 1:
        raise ValueError(f"a backbone has between 4 and {_MAX_REPEATS} blocks, and one in each stage")
    if min(*backbone.widths, *backbone.heads, *backbone.windows, *backbone.positions) < 1:
        raise ValueError("sizes must be above 0")
    if not 0 < backbone.mlp_ratio < math.inf:
        raise ValueError(f"backbone_config.mlp_ratio is {backbone.mlp_ratio}")
    for block in backbone.blocks(config.image_size):
        if block.width % block.heads:
            raise ValueError("the backbone's heads do not divide its width")
        if block.pools and (block.grid % 2 or block.window % 2 or not block.window):
            raise ValueError("a block that pools attends to the whole image, or its grid or window has an odd side")
    if (config.image_size // 4) % backbone.windows[0]:
        raise ValueError("the first stage's windows do not divide the grid")
