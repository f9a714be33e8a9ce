"""SAM and SAM-HQ in transformers, with its reference attention. Needs torch."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch  # type: ignore[import-not-found,unused-ignore]
from torch.utils.flop_counter import FlopCounterMode  # type: ignore[import-not-found,unused-ignore]
from transformers import (  # type: ignore[import-not-found,unused-ignore]
    AutoModelForMaskGeneration,
    SamHQConfig,
    SamHQModel,
)
from transformers.utils.logging import disable_progress_bar  # type: ignore[import-not-found,unused-ignore]

from benchmarks.peers.subject import Chain, best_rate, clicks, image
from maskery.models.sam.processing import Processor

_TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}

# `small` has every part of the network and runs in seconds; other values are those of ViT-B.
CONFIGS: dict[str, dict[str, Any]] = {
    "base": {},
    "small": {
        "vision_config": {
            "hidden_size": 96,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": 256,
            "window_size": 6,
            "global_attn_indexes": [1, 3],
            "output_channels": 64,
            "mlp_dim": 384,
            "num_pos_feats": 32,
        },
        "prompt_encoder_config": {"hidden_size": 64, "image_size": 256},
        "mask_decoder_config": {"hidden_size": 64, "mlp_dim": 128, "iou_head_hidden_dim": 64, "vit_dim": 96},
    },
}


def write_weights(folder: Path, config: str) -> None:
    """Write a SAM-HQ folder in the hub's format, with random weights that keep activations near 1.

    transformers initialises with a standard deviation of 1e-10, which leads to slow denormal numbers.
    """
    torch.manual_seed(0)
    model = SamHQModel(SamHQConfig(**CONFIGS[config]))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(std=0.1 if weight.ndim == 1 else weight[0].numel() ** -0.5)
            if "norm" in name and name.endswith("weight"):
                weight.add_(1)
    side = model.config.vision_config.image_size
    preprocessor = {
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "size": {"longest_edge": side},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    disable_progress_bar()
    model.save_pretrained(folder)


class Engine:
    """See `child.Engine`. The image is given as pixel values, while Maskery's time includes scaling and normalising.

    transformers 5 upscales the encoder's embedding where SAM-HQ upscales the output of the two-way transformer
    (`point_embedding, iou_token_out = self.transformer(` in its mask decoder); both cost the same.
    """

    attention = "eager"

    def __init__(self, folder: Path, precision: str) -> None:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self._type = _TYPES[precision]
        self._folder = folder
        model = AutoModelForMaskGeneration.from_pretrained(
            folder, attn_implementation=self.attention, dtype=torch.float32
        )
        self._model = model.to(self._type).eval().requires_grad_(False)
        self._side = int(model.config.vision_config.image_size)
        values = Processor.read(folder, self._side).pixel_values(image(self._side))
        self._pixels = torch.from_numpy(values).to(self._type)
        self._known: dict[str, Any] = {}

    def encode(self) -> None:
        self._known = _encode(self._model, self._pixels)

    def decode(self, objects: int) -> None:
        points = np.stack([each.points for each in clicks(self._side, objects)])
        _decode(self._model, self._known, torch.from_numpy(points)[None].to(self._type))

    def embedding(self, file: Path) -> None:
        square = self._known["image_embeddings"][0].float()
        np.save(file, square.flatten(1).T.numpy())

    def arithmetic(self, objects: int) -> float:
        # On the meta device only shapes are computed.
        model = self._model.to("meta")
        with FlopCounterMode(display=False) as encoding:
            known = _encode(model, self._pixels.to("meta"))
        if not objects:
            return float(encoding.get_total_flops())
        with FlopCounterMode(display=False) as decoding:
            _decode(model, known, torch.zeros(1, objects, 1, 2, dtype=self._type, device="meta"))
        return float(decoding.get_total_flops())

    def peak(self) -> float:
        return best_rate(self._chain)

    def _chain(self, chain: Chain) -> Callable[[], object]:
        start, others = chain.matrices()
        first, *rest = (torch.from_numpy(each).to(self._type) for each in (start, *others))

        def compute() -> object:
            value = first
            for each in rest:
                value = value @ each
            return value

        return compute


@torch.inference_mode()  # type: ignore[untyped-decorator,unused-ignore]
def _encode(model: Any, pixels: Any) -> dict[str, Any]:
    answer = model.get_image_embeddings(pixels)
    if isinstance(answer, tuple):
        return dict(zip(("image_embeddings", "intermediate_embeddings"), answer, strict=True))
    return {"image_embeddings": answer}


@torch.inference_mode()  # type: ignore[untyped-decorator,unused-ignore]
def _decode(model: Any, known: dict[str, Any], points: Any) -> None:
    labels = torch.ones(points.shape[:-1], dtype=torch.long, device=points.device)
    model(**known, input_points=points, input_labels=labels, multimask_output=True)
