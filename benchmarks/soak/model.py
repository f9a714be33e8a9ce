"""A small SAM-HQ network with random weights. Its embeddings are large enough to show in a process' memory."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from maskery.models.sam.config import SamConfig, read_document
from maskery.models.sam.weights import expected_shapes

NAME = "benchmark/small-sam-hq"

_SIDE, _PATCH, _CHANNELS, _HIDDEN = 256, 16, 64, 96

_CONFIG: dict[str, Any] = {
    "model_type": "sam_hq",
    "vision_config": {
        "hidden_size": _HIDDEN,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": _SIDE,
        "patch_size": _PATCH,
        "window_size": 6,
        "global_attn_indexes": [1, 3],
        "output_channels": _CHANNELS,
        "mlp_dim": 4 * _HIDDEN,
        "num_pos_feats": _CHANNELS // 2,
    },
    "prompt_encoder_config": {"hidden_size": _CHANNELS, "image_size": _SIDE, "patch_size": _PATCH},
    "mask_decoder_config": {
        "hidden_size": _CHANNELS,
        "mlp_dim": 2 * _CHANNELS,
        "iou_head_hidden_dim": _CHANNELS,
        "vit_dim": _HIDDEN,
    },
}

_PREPROCESSOR = {
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "size": {"longest_edge": _SIDE},
    "pad_size": {"height": _SIDE, "width": _SIDE},
    "mask_size": {"longest_edge": _SIDE // 4},
    "mask_pad_size": {"height": _SIDE // 4, "width": _SIDE // 4},
}


def write(folder: Path) -> Path:
    """Write the model in the format of transformers, with the same weights in every run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(_CONFIG))
    (folder / "preprocessor_config.json").write_text(json.dumps(_PREPROCESSOR))
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
