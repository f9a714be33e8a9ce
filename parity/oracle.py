"""SAM and SAM-HQ of transformers with random weights, as the reference for comparisons."""

import inspect
import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import SamConfig, SamHQConfig, SamHQModel, SamModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil, _rle_to_mask
from transformers.models.sam_hq import modeling_sam_hq

from maskery.segmentation import Image, ObjectPrompt

_WRONG = "point_embedding, iou_token_out = self.transformer("
_RIGHT = "point_embedding, image_embeddings = self.transformer("


def correct_transformers() -> bool:
    """Correct SAM-HQ's mask decoder in transformers 5. Returns whether it needed the correction.

    transformers 5 discards the two-way transformer's image embedding and upscales the encoder's instead, with rows and
    columns exchanged. The authors' code and the first release in transformers (4.52) upscale the transformer's output.
    """
    source = textwrap.dedent(inspect.getsource(modeling_sam_hq.SamHQMaskDecoder.forward))
    if _WRONG not in source:
        return False
    names = dict(vars(modeling_sam_hq))
    exec("from __future__ import annotations\n" + source.replace(_WRONG, _RIGHT), names)
    modeling_sam_hq.SamHQMaskDecoder.forward = names["forward"]
    return True


def small_config(architecture: str) -> dict[str, Any]:
    """A small network with windows that extend beyond the edge, two global layers and odd head sizes."""
    return {
        "model_type": architecture,
        "vision_config": {
            "hidden_size": 48,
            "num_hidden_layers": 4,
            "num_attention_heads": 3,
            "image_size": 128,
            "patch_size": 8,
            "window_size": 6,
            "global_attn_indexes": [1, 3],
            "output_channels": 32,
            "mlp_dim": 96,
            "num_pos_feats": 16,
        },
        "prompt_encoder_config": {"hidden_size": 32, "image_size": 128, "patch_size": 8, "mask_input_channels": 8},
        "mask_decoder_config": {
            "hidden_size": 32,
            "mlp_dim": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": 24,
            "vit_dim": 48,
        },
    }


def write_model(folder: Path, config: dict[str, Any], seed: int = 0) -> None:
    """Write a folder as on the hub, with random weights of a realistic scale."""
    hq = config["model_type"] == "sam_hq"
    model = SamHQModel(SamHQConfig(**config)) if hq else SamModel(SamConfig(**config))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * _scale(name, weight))
            if "norm" in name and name.endswith("weight"):
                weight.add_(1)
    model.save_pretrained(folder)
    side = config["vision_config"].get("image_size", 1024)
    preprocessor = {
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "size": {"longest_edge": side},
        "pad_size": {"height": side, "width": side},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))


def _scale(name: str, weight: torch.Tensor) -> float:
    if "positional_embedding" in name:
        return 1.0
    if "norm" in name or "rel_pos" in name or name.endswith("bias"):
        return 0.1
    if ("embed" in name or "token" in name) and "attn" not in name and weight.ndim == 2:
        return 0.5
    if "pos_embed" in name:
        return 0.2
    if weight.ndim == 4 and any(part in name for part in ("upscale", "compress", "encoder_conv")):
        return float(weight.shape[0]) ** -0.5
    return (1.0 if weight.ndim == 4 else 0.5) * float(weight[0].numel()) ** -0.5


@dataclass(frozen=True)
class Output:
    """float32 [masks, side, side] and [masks]: the single mask, then the three masks, best first."""

    logits: np.ndarray
    scores: np.ndarray


def model_inputs(prompt: ObjectPrompt, scale: tuple[float, float], start: np.ndarray | None) -> dict[str, Any]:
    """A prompt as the arguments of transformers' models.

    Args:
        scale: of the network's input relative to the image, (x, y).
        start: logits of a mask prompt.
    """
    inputs: dict[str, Any] = {}
    if len(prompt.points):
        points = prompt.points.astype(np.float64) * scale
        inputs["input_points"] = torch.from_numpy(points.astype(np.float32))[None, None]
        inputs["input_labels"] = torch.from_numpy(prompt.labels.astype(np.int64))[None, None]
    if prompt.box is not None:
        box = prompt.box.astype(np.float64) * np.array([*scale, *scale])
        inputs["input_boxes"] = torch.from_numpy(box.astype(np.float32))[None, None]
    if start is not None:
        inputs["input_masks"] = torch.from_numpy(start)[None]
    return inputs


class Oracle:
    """A folder's model in transformers."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        kind = SamHQModel if config["model_type"] == "sam_hq" else SamModel
        self._hq = kind is SamHQModel
        self._model: Any = kind.from_pretrained(folder, attn_implementation="eager").eval()
        self._processor = SamImageProcessorPil.from_pretrained(folder)

    def pixel_values(self, image: Image) -> np.ndarray:
        values = self._processor(image.pixels, return_tensors="np", input_data_format="channels_last")["pixel_values"]
        return np.asarray(values)

    @torch.no_grad()
    def encode(self, image: Image) -> Any:
        values = torch.from_numpy(self.pixel_values(image))
        if self._hq:
            embedding, early = self._model.get_image_embeddings(values)
            return {"image_embeddings": embedding, "intermediate_embeddings": early}
        return {"image_embeddings": self._model.get_image_embeddings(values)}

    @torch.no_grad()
    def decode(self, known: Any, prompt: ObjectPrompt, scale: tuple[float, float], start: np.ndarray | None) -> Output:
        inputs = model_inputs(prompt, scale, start)
        answers = [self._model(**known, **inputs, multimask_output=several) for several in (False, True)]
        logits = [answer.pred_masks[0, 0].numpy() for answer in answers]
        scores = [answer.iou_scores[0, 0].numpy() for answer in answers]
        if not self._hq:
            # SAM leaves the three in their own order.
            order = np.argsort(-scores[1], kind="stable")
            logits[1], scores[1] = logits[1][order], scores[1][order]
        return Output(np.concatenate(logits), np.concatenate(scores))

    @torch.no_grad()
    def everything(
        self, image: Image, points_per_side: int, predicted_iou: float, stability: float, nms_iou: float
    ) -> list[np.ndarray]:
        """The masks of the pipeline `mask-generation`, bool [height, width] each, best first.

        These are its steps, for one crop. Only non-maximum suppression is written out, which it takes from torchvision.
        """
        processor = self._processor
        side = processor.size["longest_edge"]
        crops, grid, cropped, labels = processor.generate_crop_boxes(
            image.pixels, side, points_per_crop=points_per_side
        )
        inputs = processor(cropped, return_tensors="pt")
        known = {"image_embeddings": self._model.get_image_embeddings(inputs["pixel_values"])}
        size = image.pixels.shape[:2]
        masks, scores, boxes = [], [], []
        for start in range(0, grid.shape[1], 64):
            part = slice(start, start + 64)
            answer = self._model(
                **known,
                input_points=torch.as_tensor(grid)[:, part, :1].float(),
                input_labels=torch.as_tensor(labels)[:, part, :1],
            )
            grown = processor.post_process_masks(
                answer.pred_masks, [size], inputs["reshaped_input_sizes"].tolist(), binarize=False
            )
            kept = processor.filter_masks(grown[0], answer.iou_scores[0], size, crops[0], predicted_iou, stability)
            masks += [np.asarray(_rle_to_mask(each), np.bool_) for each in kept[0]]
            scores.append(kept[1])
            boxes.append(kept[2])
        order = torch.argsort(torch.cat(scores), descending=True, stable=True)
        corners, chosen = torch.cat(boxes).double(), []
        for index in order.tolist():
            if all(_box_iou(corners[index], corners[other]) <= nms_iou for other in chosen):
                chosen.append(index)
        return [masks[index] for index in chosen]


def _box_iou(one: torch.Tensor, other: torch.Tensor) -> float:
    shared = (torch.minimum(one[2:], other[2:]) - torch.maximum(one[:2], other[:2])).clamp(0).prod()
    areas = (one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod()
    return float(shared / (areas - shared)) if areas > shared else 0.0
