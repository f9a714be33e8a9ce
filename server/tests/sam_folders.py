"""Folders of small networks of each family with random weights, written without the libraries that read them."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from maskery.models.families import FAMILIES
from maskery.models.sam.weights import Shape

#: Folder for networks that tests compile, see the root `conftest.py`.
CACHE = Path(os.environ["MASKERY_COMPILE_CACHE"]) / "tests" if "MASKERY_COMPILE_CACHE" in os.environ else None

SHARED = "prompt_encoder.shared_embedding.positional_embedding"

PREPROCESSOR = {
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "size": {"longest_edge": 64},
    "pad_size": {"height": 64, "width": 64},
    "mask_size": {"longest_edge": 32},
    "mask_pad_size": {"height": 32, "width": 32},
}

STRETCHED = {
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "size": {"height": 64, "width": 64},
    "mask_size": {"height": 16, "width": 16},
}


def config(architecture: str = "sam_hq", **vision: Any) -> dict[str, Any]:
    """A `config.json` of a small network: of 60,000 weights for SAM, and of the only size of EdgeTAM's backbone."""
    if architecture not in ("sam", "sam_hq"):
        return _sam2_config(architecture)
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


def _sam2_config(architecture: str) -> dict[str, Any]:
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 16,
        "embed_dim_per_stage": [16, 32, 64, 128],
        "blocks_per_stage": [1, 2, 2, 1],
        "num_attention_heads_per_stage": [1, 2, 2, 4],
        "global_attention_blocks": [4],
        "window_size_per_stage": [8, 4, 14, 7],
        "image_size": [64, 64],
    }
    hiera = architecture.startswith("sam2")
    return {
        "model_type": architecture,
        "vision_config": {
            **({"backbone_config": backbone} if hiera else {}),
            "backbone_channel_list": [128, 64, 32, 16] if hiera else [384, 192, 96, 48],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 16,
        },
        "prompt_encoder_config": {"hidden_size": 16, "image_size": 64, "mask_input_channels": 4},
        "mask_decoder_config": {
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
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
    document = json.loads((folder / "config.json").read_text())
    family = FAMILIES[document["model_type"]]
    return {
        name: _random(random, name, shape).astype(dtype)
        for name, shape in family.shapes(family.parse(document)).items()
        if name != SHARED
    }


def _random(random: np.random.Generator, name: str, shape: Shape) -> np.ndarray:
    values = random.standard_normal(shape) / math.sqrt(shape[-1])
    if name.endswith("running_var"):
        return 1 + np.abs(values)
    # Convolutions sum over all axes but the first; batch normalization keeps the sum of many blocks in range.
    if ".c.weight" in name:
        return values * math.sqrt(shape[-1] / math.prod(shape[1:]))
    return 0.3 + 0.1 * values if ".bn.weight" in name else values


def write_model(
    folder: Path, architecture: str = "sam_hq", extra: Mapping[str, np.ndarray] | None = None, seed: int = 0
) -> Path:
    """Write a complete folder, as `save_pretrained` does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(architecture)))
    preprocessor = PREPROCESSOR if architecture in ("sam", "sam_hq") else STRETCHED
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    write_safetensors(folder / "model.safetensors", {**random_tensors(folder, seed=seed), **(extra or {})})
    return folder
