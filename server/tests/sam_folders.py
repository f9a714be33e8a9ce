"""Writes small SAM and SAM-HQ networks with random weights, without the libraries that read them."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from maskery.models.sam.config import SamConfig
from maskery.models.sam.weights import expected_shapes

SHARED = "prompt_encoder.shared_embedding.positional_embedding"

PREPROCESSOR = {
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "size": {"longest_edge": 64},
    "pad_size": {"height": 64, "width": 64},
    "mask_size": {"longest_edge": 32},
    "mask_pad_size": {"height": 32, "width": 32},
}


def config(architecture: str = "sam_hq", **vision: Any) -> dict[str, Any]:
    """A `config.json` of a network of 60,000 weights."""
    return {
        "model_type": architecture,
        "vision_config": {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 8,
            "window_size": 3,
            "global_attn_indexes": [1],
            "output_channels": 16,
            "mlp_dim": 64,
            "num_pos_feats": 8,
            **vision,
        },
        "prompt_encoder_config": {"hidden_size": 16, "image_size": 64, "patch_size": 8, "mask_input_channels": 4},
        "mask_decoder_config": {
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
            "vit_dim": 32,
        },
    }


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray], **types: str) -> None:
    """Write tensors in order; `types` names the types that numpy does not have."""
    names = {"float32": "F32", "float16": "F16", "float64": "F64", "uint8": "U8", "int64": "I64"}
    header, offset = {}, 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": types.get(name, names.get(str(tensor.dtype))),
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    write_raw(path, header, b"".join(tensor.tobytes() for tensor in tensors.values()))


def write_raw(path: Path, header: Any, data: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def random_tensors(folder: Path, dtype: type = np.float32, seed: int = 0) -> dict[str, np.ndarray]:
    """Random tensors for the folder's `config.json`, as transformers saves them: the shared matrix once."""
    random = np.random.default_rng(seed)
    return {
        name: (random.standard_normal(shape) / math.sqrt(shape[-1])).astype(dtype)
        for name, shape in expected_shapes(SamConfig.read(folder / "config.json")).items()
        if name != SHARED
    }


def write_model(
    folder: Path, architecture: str = "sam_hq", extra: Mapping[str, np.ndarray] | None = None, seed: int = 0
) -> Path:
    """Write a complete folder, as `save_pretrained` does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(architecture)))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    write_safetensors(folder / "model.safetensors", {**random_tensors(folder, seed=seed), **(extra or {})})
    return folder
