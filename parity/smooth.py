"""SAM with random weights whose masks are those of objects: smooth, of many sizes, different at every point."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from safetensors.numpy import load_file, save_file

from parity.oracle import write_model


def write_smooth_model(folder: Path, config: dict[str, Any]) -> None:
    """A network with random weights whose masks are smooth, of many sizes, and depend on the point.

    The masks of a network that is random throughout are noise, whose boxes are the whole image.
    """
    write_model(folder, config, seed=3)
    weights = dict(load_file(folder / "model.safetensors"))
    positions = weights["vision_encoder.pos_embed"][0]
    # By parts, because OpenCV filters at most 512 channels.
    parts = np.array_split(positions, -(-positions.shape[2] // 4), axis=2)
    blurred = [np.atleast_3d(cv2.GaussianBlur(part, (0, 0), len(positions) / 6.4)) for part in parts]
    weights["vision_encoder.pos_embed"] = 40 * (len(positions) / 16) * np.concatenate(blurred, axis=2)[None]
    for name, weight in weights.items():
        if "upscale_conv" in name and weight.ndim == 4:
            # The same for all pixels of a cell.
            weights[name] = np.broadcast_to(weight.mean((2, 3), keepdims=True) * 2, weight.shape).copy()
        elif "output_hypernetworks_mlps" in name and "proj_out.weight" in name:
            weights[name] = 600 * weight
        elif "mask_decoder.transformer" in name and "out_proj.weight" in name:
            # Masks depend on the point more than on the tokens that are the same for all points.
            weights[name] = 6 * weight
        elif "iou_prediction_head.proj_out" in name:
            weights[name] = 1.5 * weight + (0.6 if name.endswith("bias") else 0)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
