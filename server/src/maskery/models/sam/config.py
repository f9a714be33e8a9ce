"""The sizes of a SAM or SAM-HQ network, from the `config.json` that transformers writes.

Kirillov et al., Segment Anything, ICCV 2023; Ke et al., Segment Anything in High Quality, NeurIPS 2023.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


class UnsupportedModel(ValueError):  # noqa: N818 - the name states what was found
    """The files are not a supported model; the message says what was found."""


def read_document(file: Path) -> dict[str, Any]:
    """The content of a `config.json`.

    Raises:
        UnsupportedModel: it is not a JSON object.
        OSError: the file cannot be read.
    """
    try:
        document = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        raise UnsupportedModel(f"{file.name} is not JSON") from None
    if not isinstance(document, dict):
        raise UnsupportedModel(f"{file.name} is not a JSON object")
    return document


@contextmanager
def describing_a_network() -> Iterator[None]:
    """Turns the errors of reading invalid fields into `UnsupportedModel`."""
    try:
        yield
    except AttributeError:
        raise UnsupportedModel("config.json does not describe a network: a part of it is not an object") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise UnsupportedModel(f"config.json does not describe a network: {error}") from None


@dataclass(frozen=True)
class VisionConfig:
    """The image encoder, a vision transformer (Li et al., Exploring Plain Vision Transformer Backbones, 2022).

    Attributes:
        hidden_size, layers, heads, mlp_dim: of the transformer.
        image_size: side of its square input, in pixels.
        patch_size: side of a patch, in pixels.
        window_size: side of an attention window, in patches.
        global_layers: indices of the layers that attend to the whole image instead.
        output_channels: of the embedding.
        eps: of layer normalization.
    """

    hidden_size: int = 768
    layers: int = 12
    heads: int = 12
    mlp_dim: int = 3072
    image_size: int = 1024
    patch_size: int = 16
    window_size: int = 14
    global_layers: tuple[int, ...] = (2, 5, 8, 11)
    output_channels: int = 256
    eps: float = 1e-6

    @property
    def grid(self) -> int:
        """Number of patches along a side."""
        return self.image_size // self.patch_size

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.heads


@dataclass(frozen=True)
class DecoderConfig:
    """The prompt encoder and the mask decoder.

    Attributes:
        hidden_size, layers, heads, mlp_dim: of the two-way transformer.
        downsample: factor by which the inner size of cross attention is smaller.
        multimask: number of masks beside the single one.
        iou_depth, iou_hidden: of the head that predicts IoU.
        mask_channels: of the mask prompt's embedding before the last convolution.
        eps: of layer normalization.
    """

    hidden_size: int = 256
    layers: int = 2
    heads: int = 8
    mlp_dim: int = 2048
    downsample: int = 2
    multimask: int = 3
    iou_depth: int = 3
    iou_hidden: int = 256
    mask_channels: int = 16
    eps: float = 1e-6


@dataclass(frozen=True)
class SamConfig:
    """All sizes of a network.

    Attributes:
        architecture: sam, or sam_hq, which has one more output token and fused features.
    """

    architecture: Literal["sam", "sam_hq"]
    vision: VisionConfig
    decoder: DecoderConfig

    @property
    def is_hq(self) -> bool:
        return self.architecture == "sam_hq"

    @property
    def image_size(self) -> int:
        """Side of the square input, in pixels."""
        return self.vision.image_size

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.vision.grid

    @property
    def low_resolution(self) -> int:
        """Side of the decoder's square output, in logits."""
        return self.vision.grid * 4

    @classmethod
    def parse(cls, document: dict[str, Any]) -> "SamConfig":
        """The sizes in the content of a `config.json`. Missing fields have the defaults of transformers.

        Raises:
            UnsupportedModel: another architecture, or invalid sizes.
        """
        kind = document.get("model_type")
        if kind not in ("sam", "sam_hq"):
            raise UnsupportedModel(f"config.json has the model type {kind!r}; supported are sam and sam_hq")
        with describing_a_network():
            config = cls(kind, _vision(document.get("vision_config") or {}), _decoder(document))
            config._check()
        return config

    def _check(self) -> None:
        vision, decoder = self.vision, self.decoder
        sizes = (vision.hidden_size, vision.layers, vision.heads, vision.image_size, vision.patch_size)
        if min(*sizes, vision.window_size, decoder.hidden_size, decoder.heads, decoder.downsample) < 1:
            raise ValueError("sizes must be above 0")
        if vision.hidden_size % vision.heads or decoder.hidden_size % (decoder.heads * decoder.downsample):
            raise ValueError("the hidden size is not a multiple of the heads")
        if vision.image_size % vision.patch_size:
            raise ValueError("the image size is not a multiple of the patch size")
        if vision.output_channels != decoder.hidden_size:
            raise ValueError("the encoder's output and the decoder's hidden size differ")
        if decoder.hidden_size % 8:
            raise ValueError("the decoder's hidden size is not a multiple of 8")
        if self.is_hq and not vision.global_layers:
            raise ValueError("SAM-HQ needs a layer of global attention")


def _vision(fields: dict[str, Any]) -> VisionConfig:
    for name, only in (("use_rel_pos", True), ("use_abs_pos", True), ("qkv_bias", True), ("hidden_act", "gelu")):
        if fields.get(name, only) != only:
            raise ValueError(f"vision_config.{name} is {fields[name]!r}; only {only!r} is supported")
    default = VisionConfig()
    hidden = int(fields.get("hidden_size", default.hidden_size))
    mlp = fields.get("mlp_dim")
    return VisionConfig(
        hidden_size=hidden,
        layers=int(fields.get("num_hidden_layers", default.layers)),
        heads=int(fields.get("num_attention_heads", default.heads)),
        mlp_dim=int(mlp if mlp is not None else hidden * fields.get("mlp_ratio", 4.0)),
        image_size=int(fields.get("image_size", default.image_size)),
        patch_size=int(fields.get("patch_size", default.patch_size)),
        window_size=int(fields.get("window_size", default.window_size)),
        global_layers=tuple(int(layer) for layer in fields.get("global_attn_indexes", default.global_layers)),
        output_channels=int(fields.get("output_channels", default.output_channels)),
        eps=float(fields.get("layer_norm_eps", default.eps)),
    )


def _decoder(document: dict[str, Any]) -> DecoderConfig:
    fields, prompt = document.get("mask_decoder_config") or {}, document.get("prompt_encoder_config") or {}
    default = DecoderConfig()
    if fields.get("hidden_act", "relu") != "relu":
        raise ValueError(f"mask_decoder_config.hidden_act is {fields['hidden_act']!r}; only 'relu' is supported")
    return DecoderConfig(
        hidden_size=int(fields.get("hidden_size", default.hidden_size)),
        layers=int(fields.get("num_hidden_layers", default.layers)),
        heads=int(fields.get("num_attention_heads", default.heads)),
        mlp_dim=int(fields.get("mlp_dim", default.mlp_dim)),
        downsample=int(fields.get("attention_downsample_rate", default.downsample)),
        multimask=int(fields.get("num_multimask_outputs", default.multimask)),
        iou_depth=int(fields.get("iou_head_depth", default.iou_depth)),
        iou_hidden=int(fields.get("iou_head_hidden_dim", default.iou_hidden)),
        mask_channels=int(prompt.get("mask_input_channels", default.mask_channels)),
        eps=float(fields.get("layer_norm_eps", default.eps)),
    )
