"""SAM-HQ networks with random weights, of any size."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from maskery.models.sam.config import SamConfig, read_document
from maskery.models.sam.weights import expected_shapes

NAME = "benchmark/small-sam-hq"

_PATCH, _HIDDEN = 16, 96


def _config(side: int, channels: int) -> dict[str, Any]:
    return {
        "model_type": "sam_hq",
        "vision_config": {
            "hidden_size": _HIDDEN,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": side,
            "patch_size": _PATCH,
            "window_size": 6,
            "global_attn_indexes": [1, 3],
            "output_channels": channels,
            "mlp_dim": 4 * _HIDDEN,
            "num_pos_feats": channels // 2,
        },
        "prompt_encoder_config": {"hidden_size": channels, "image_size": side, "patch_size": _PATCH},
        "mask_decoder_config": {
            "hidden_size": channels,
            "mlp_dim": 8 * channels if channels > 64 else 2 * channels,
            "iou_head_hidden_dim": channels,
            "vit_dim": _HIDDEN,
        },
    }


def _preprocessor(side: int) -> dict[str, Any]:
    return {
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "size": {"longest_edge": side},
        "pad_size": {"height": side, "width": side},
        "mask_size": {"longest_edge": side // 4},
        "mask_pad_size": {"height": side // 4, "width": side // 4},
    }


def write(folder: Path, side: int = 256, channels: int = 64) -> Path:
    """Write the model in the format of transformers, with the same weights in every run.

    Args:
        side: of the images that it sees. The default's embeddings are large enough to show in a process' memory.
        channels: of its embeddings and its decoder. With 1024 and 256 both are those of SAM-HQ, behind a small encoder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(_config(side, channels)))
    (folder / "preprocessor_config.json").write_text(json.dumps(_preprocessor(side)))
    random = np.random.default_rng(0)
    header: dict[str, Any] = {}
    data = bytearray()
    for name, shape in expected_shapes(SamConfig.parse(read_document(folder / "config.json"))).items():
        # Shared with another part of the network, and stored there.
        if name == "prompt_encoder.shared_embedding.positional_embedding":
            continue
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 100
        tensor = (random.standard_normal(shape) * fan**-0.5).astype(np.float32)
        if "norm" in name and name.endswith("weight"):
            tensor += 1
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(data), len(data) + tensor.nbytes]}
        data += tensor.tobytes()
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    return folder
