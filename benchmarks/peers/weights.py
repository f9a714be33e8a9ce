"""Folders of models in the hub's format, with random weights of a realistic scale. Needs torch."""

import importlib
from pathlib import Path
from typing import Any

from transformers.utils.logging import disable_progress_bar  # type: ignore[import-not-found,unused-ignore]

_SAM2: dict[str, Any] = {"model_type": "sam2", "prompt_encoder_config": {}, "mask_decoder_config": {}}

#: By label, the sizes that differ from transformers' defaults. `small` has every part of SAM-HQ and runs in seconds.
CONFIGS: dict[str, dict[str, Any]] = {
    "base": {"model_type": "sam_hq", "vision_config": {}},
    # As nielsr/slimsam-77-uniform.
    "slim": {
        "model_type": "sam",
        "vision_config": {"hidden_size": 168, "num_attention_heads": 12, "mlp_dim": 696},
    },
    "sam2.1-tiny": {**_SAM2, "vision_config": {}},
    "sam2.1-base-plus": {
        **_SAM2,
        "vision_config": {
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 112,
                "embed_dim_per_stage": [112, 224, 448, 896],
                "blocks_per_stage": [2, 3, 16, 3],
                "num_attention_heads_per_stage": [2, 4, 8, 16],
                "global_attention_blocks": [12, 16, 20],
                "window_positional_embedding_background_size": [14, 14],
            },
            "backbone_channel_list": [896, 448, 224, 112],
        },
    },
    "edgetam": {
        **_SAM2,
        "model_type": "edgetam",
        "vision_config": {"backbone_channel_list": [384, 192, 96, 48]},
    },
    "small": {
        "model_type": "sam_hq",
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
    """Write the folder of a config, with the weights that `make test-parity` uses.

    transformers initialises with a standard deviation of 1e-10, which leads to slow denormal numbers.
    """
    disable_progress_bar()
    oracle = "oracle" if CONFIGS[config]["model_type"] in ("sam", "sam_hq") else "oracle_sam2"
    importlib.import_module(f"parity.{oracle}").write_model(folder, CONFIGS[config])
