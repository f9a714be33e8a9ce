"""transformers' SAM 2 and EdgeTAM with random weights, in the form of `parity.oracle.Oracle`."""

import importlib.abc
import importlib.machinery
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModel,
    EdgeTamConfig,
    EdgeTamModel,
    EdgeTamVisionConfig,
    Sam2Config,
    Sam2Model,
    TimmWrapperConfig,
)
from transformers.models.edgetam import modeling_edgetam

from maskery.segmentation import Image, ObjectPrompt
from parity.oracle import Output, model_inputs


class _Stub(types.ModuleType):
    """A module in which every name is an empty class of its own."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _stub_class(name)


class _StubType(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _stub_class(name)


def _stub_class(name: str) -> Any:
    return _StubType(name, (), {})


class _StubFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Any:
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.startswith("torchvision") else None

    def create_module(self, spec: Any) -> types.ModuleType:
        return _Stub(spec.name)

    def exec_module(self, _module: types.ModuleType) -> None:
        pass


def import_timm() -> Any:
    """timm, from which transformers takes EdgeTAM's backbone.

    Its data loading imports torchvision, which has no release for every build of PyTorch and is not used here.
    """
    finder = _StubFinder()
    missing = importlib.util.find_spec("torchvision") is None
    if missing:
        sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module("timm")
    finally:
        if missing:
            sys.meta_path.remove(finder)
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]


class _TimmBackbone(torch.nn.Module):
    """What transformers' `TimmWrapperModel` does, which insists on torchvision."""

    def __init__(self) -> None:
        super().__init__()
        self.timm_model = import_timm().create_model("repvit_m1", features_only=True, out_indices=(0, 1, 2, 3))

    def forward(self, pixel_values: torch.Tensor, **_: Any) -> Any:
        return types.SimpleNamespace(last_hidden_state=self.timm_model(pixel_values), hidden_states=None)


class _AutoModel:
    @staticmethod
    def from_config(config: Any) -> Any:
        return _TimmBackbone() if config.model_type == "timm_wrapper" else AutoModel.from_config(config)


modeling_edgetam.AutoModel = _AutoModel


def small_config(architecture: str) -> dict[str, Any]:
    """Every part of a network, small: windows that reach over the edge, a global block, pooling between stages."""
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 16,
        "embed_dim_per_stage": [16, 32, 64, 128],
        "blocks_per_stage": [1, 2, 3, 2],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "global_attention_blocks": [4],
        "window_size_per_stage": [8, 4, 14, 7],
        "image_size": [256, 256],
    }
    edge = architecture == "edgetam"
    return {
        "model_type": architecture,
        "vision_config": {
            **({} if edge else {"backbone_config": backbone}),
            "backbone_channel_list": [384, 192, 96, 48] if edge else [128, 64, 32, 16],
            "backbone_feature_sizes": [[64, 64], [32, 32], [16, 16]],
            "fpn_hidden_size": 32,
        },
        "prompt_encoder_config": {"hidden_size": 32, "image_size": 256, "mask_input_channels": 8},
        "mask_decoder_config": {
            "hidden_size": 32,
            "mlp_dim": 64,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": 24,
        },
    }


def write_model(folder: Path, config: dict[str, Any], seed: int = 0) -> None:
    """A folder as on the hub, with random weights of a realistic scale."""
    model = _new_model(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * _scale(name, tensor))
            if name.endswith(".bn.weight"):
                tensor.abs_().add_(0.3)
            elif (_is_norm(name) and name.endswith("weight")) or name.endswith("running_var"):
                tensor.abs_().add_(1)
        # Two copies of one matrix, as in every published checkpoint.
        model.shared_image_embedding.positional_embedding.copy_(
            model.prompt_encoder.shared_embedding.positional_embedding
        )
    model.save_pretrained(folder)
    document = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**document, "model_type": config["model_type"]}))
    side = config["prompt_encoder_config"].get("image_size", 1024)
    preprocessor = {
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "size": {"height": side, "width": side},
        "mask_size": {"height": side // 4, "width": side // 4},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))


def _new_model(config: dict[str, Any]) -> Any:
    fields = {name: value for name, value in config.items() if name != "model_type"}
    if config["model_type"] == "edgetam":
        backbone = TimmWrapperConfig(
            architecture="repvit_m1",
            model_args={"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
        )
        vision = EdgeTamVisionConfig(backbone_config=backbone, **fields.pop("vision_config"))
        return EdgeTamModel(EdgeTamConfig(vision_config=vision, **fields))
    return Sam2Model(Sam2Config(**fields))


def _is_norm(name: str) -> bool:
    return "norm" in name or ".bn." in name


def _scale(name: str, tensor: torch.Tensor) -> float:
    if "positional_embedding" in name:
        return 1.0
    if _is_norm(name) or name.endswith("bias"):
        return 0.1
    if "pos_embed" in name or "no_memory" in name:
        return 0.2
    if ("embed" in name or "token" in name) and "attn" not in name and tensor.ndim == 2:
        return 0.5
    if tensor.ndim == 4 and "upscale" in name:
        return float(tensor.shape[0]) ** -0.5
    return (1.0 if tensor.ndim == 4 else 0.5) * float(tensor[0].numel()) ** -0.5


class Sam2Oracle:
    """A folder's model in transformers."""

    def __init__(self, folder: Path) -> None:
        edge = json.loads((folder / "config.json").read_text())["model_type"] == "edgetam"
        kind = EdgeTamModel if edge else Sam2Model
        self.model: Any = kind.from_pretrained(folder, attn_implementation="eager").eval()
        self.side = self.model.prompt_encoder.input_image_size

    def pixel_values(self, image: Image) -> np.ndarray:
        """As transformers' `Sam2ImageProcessor`, which needs torchvision: stretched, and rounded to 8 bits."""
        pixels = torch.from_numpy(image.pixels.copy()).permute(2, 0, 1)[None].float()
        size = (self.side, self.side)
        stretched = torch.nn.functional.interpolate(pixels, size, mode="bilinear", antialias=True).round().clamp(0, 255)
        mean, std = (torch.tensor(each).reshape(1, 3, 1, 1) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        return np.asarray((stretched / 255 - mean) / std)

    @torch.no_grad()
    def encode(self, pixel_values: np.ndarray) -> Any:
        return {"image_embeddings": self.model.get_image_embeddings(torch.from_numpy(pixel_values))}

    @torch.no_grad()
    def decode(self, known: Any, prompt: ObjectPrompt, scale: tuple[float, float], start: np.ndarray | None) -> Output:
        """The single mask, whether stable or not, then the three of the multimask mode, best first."""
        single = self._run(known, prompt, scale, start, multimask_output=False, by_stability=False)
        three = self._run(known, prompt, scale, start, multimask_output=True, by_stability=False)
        order = np.argsort(-three.scores, kind="stable")
        return Output(
            np.concatenate([single.logits, three.logits[order]]), np.concatenate([single.scores, three.scores[order]])
        )

    @torch.no_grad()
    def choose(self, known: Any, prompt: ObjectPrompt, scale: tuple[float, float], start: np.ndarray | None) -> Output:
        """The one mask that is the answer to an unambiguous prompt."""
        return self._run(known, prompt, scale, start, multimask_output=False, by_stability=True)

    def _run(
        self,
        known: Any,
        prompt: ObjectPrompt,
        scale: tuple[float, float],
        start: np.ndarray | None,
        multimask_output: bool,
        by_stability: bool,
    ) -> Output:
        inputs = model_inputs(prompt, scale, start)
        self.model.mask_decoder.dynamic_multimask_via_stability = by_stability
        embeddings = {name: list(maps) for name, maps in known.items()}
        answer = self.model(**embeddings, **inputs, multimask_output=multimask_output)
        return Output(answer.pred_masks[0, 0].numpy(), answer.iou_scores[0, 0].numpy())
