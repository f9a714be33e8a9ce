"""The Segment Anything family in transformers, with its reference attention. Needs torch."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch  # type: ignore[import-not-found,unused-ignore]
from torch.utils.flop_counter import FlopCounterMode  # type: ignore[import-not-found,unused-ignore]
from transformers import AutoModelForMaskGeneration  # type: ignore[import-not-found,unused-ignore]

from benchmarks.peers.subject import Chain, best_rate, clicks, image
from maskery.models.families import FAMILIES
from maskery.models.files import read_config
from maskery.models.sam.processing import Processor

_TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


class Engine:
    """See `child.Engine`. The image is given as pixel values, while Maskery's time includes scaling and normalising.

    transformers 5 upscales the encoder's embedding where SAM-HQ upscales the output of the two-way transformer
    (`point_embedding, iou_token_out = self.transformer(` in its mask decoder); both cost the same.
    """

    attention = "eager"

    def __init__(self, folder: Path, precision: str) -> None:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self._type = _TYPES[precision]
        config = read_config(folder)
        if config.architecture.startswith("edgetam"):
            # Makes transformers find EdgeTAM's backbone in timm without torchvision.
            importlib.import_module("parity.oracle_sam2")
        model = AutoModelForMaskGeneration.from_pretrained(
            folder, attn_implementation=self.attention, dtype=torch.float32
        )
        self._model = model.to(self._type).eval().requires_grad_(False)
        self._side = config.image_size
        processor = Processor.read(folder, self._side, FAMILIES[config.architecture].keep_aspect)
        values = processor.pixel_values(image(self._side))
        self._pixels = torch.from_numpy(values).to(self._type)
        self._known: dict[str, Any] = {}

    def encode(self) -> None:
        self._known = _encode(self._model, self._pixels)

    def decode(self, objects: int) -> None:
        points = np.stack([each.points for each in clicks(self._side, objects)])
        _decode(self._model, self._known, torch.from_numpy(points)[None].to(self._type))

    def embedding(self, file: Path) -> None:
        maps = self._known["image_embeddings"]
        # SAM 2 and EdgeTAM have three; the coarsest is the embedding.
        square = maps[-1][0] if isinstance(maps, list) else maps[0]
        np.save(file, square.float().flatten(1).T.numpy())

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
