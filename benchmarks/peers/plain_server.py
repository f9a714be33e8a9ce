"""A plain server around transformers' SamHQModel, as is usual: FastAPI, one model, a lock. Needs torch.

    python -m benchmarks.peers.plain_server --folder DIR --port N [--keep N] [--no-lock] [--precision f32|bf16]

It answers the requests of the benchmark in the same format as Maskery. All options of transformers have their defaults:
attention, threads, Pillow's PNG. `--keep` caches the embeddings of the last images by the digest of their bytes, as the
better servers of this kind do.
"""

import argparse
import base64
import hashlib
import io
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch  # type: ignore[import-not-found,unused-ignore]
import uvicorn
from fastapi import FastAPI
from PIL import Image
from pydantic import BaseModel
from transformers import SamHQModel, SamHQProcessor  # type: ignore[import-not-found,unused-ignore]

_TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


class Request(BaseModel):
    """The request."""

    model: str
    image_prompt: str
    segment_prompt: list[list[tuple[float, float]]]


class Mask(BaseModel):
    """A categorical mask as PNG."""

    b64_json: str
    label: str | None = None
    score: float | None = None


class Answer(BaseModel):
    """The response."""

    created: int
    data: list[Mask]


class Known(NamedTuple):
    """What the decoder needs of an image: its embeddings, and its size before and after scaling."""

    embedding: Any
    intermediate: Any
    size: Any
    scaled: Any


class Recent:
    """A cache of the last images. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, digest: str) -> Known | None:
        with self._lock:
            if digest in self._known:
                self._known.move_to_end(digest)
            return self._known.get(digest)

    def put(self, digest: str, known: Known) -> None:
        with self._lock:
            self._known[digest] = known
            while len(self._known) > self._most:
                self._known.popitem(last=False)


class Segmenter:
    """The model and its cache.

    Args:
        folder: of the weights.
        keep: number of cached images.
        precision: f32 or bf16.
        lock: held while the model computes.
    """

    def __init__(self, folder: Path, keep: int, precision: str, lock: AbstractContextManager[Any]) -> None:
        self._type = _TYPES[precision]
        self._processor = SamHQProcessor.from_pretrained(folder)
        self._model = SamHQModel.from_pretrained(folder, dtype=self._type).eval()
        self._recent = Recent(keep)
        self._lock = lock

    @torch.inference_mode()  # type: ignore[untyped-decorator,unused-ignore]
    def segment(self, file: bytes, points: list[list[tuple[float, float]]]) -> tuple[bytes, float]:
        """The mask as PNG, and the mean of the objects' scores."""
        digest = hashlib.sha256(file).hexdigest()
        with self._lock:
            known = self._recent.get(digest)
            if known is None:
                known = self._encode(file)
                self._recent.put(digest, known)
            factor = (known.scaled / known.size).flip(-1)
            outputs = self._model(
                image_embeddings=known.embedding,
                intermediate_embeddings=known.intermediate,
                input_points=(torch.tensor([points]) * factor).to(self._type),
                multimask_output=True,
            )
        scores = outputs.iou_scores[0].float()
        best = scores.argmax(-1)
        logits = outputs.pred_masks[:, torch.arange(len(points)), best].float()
        (masks,) = self._processor.post_process_masks(logits[:, :, None], known.size, known.scaled)
        values = np.zeros(masks.shape[-2:], np.uint8)
        for number, mask in enumerate(masks[:, 0].numpy(), 1):
            values[mask] = number
        png = io.BytesIO()
        Image.fromarray(values).save(png, "PNG")
        return png.getvalue(), float(scores.amax(-1).mean())

    def _encode(self, file: bytes) -> Known:
        image = Image.open(io.BytesIO(file)).convert("RGB")
        inputs = self._processor(image, return_tensors="pt")
        embedding, intermediate = self._model.get_image_embeddings(inputs.pixel_values.to(self._type))
        return Known(embedding, intermediate, inputs.original_sizes, inputs.reshaped_input_sizes)


def create_app(segmenter: Segmenter) -> FastAPI:
    app = FastAPI()

    @app.get("/health/ready")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/v1/images/segmentations")
    def segmentations(request: Request) -> Answer:
        png, score = segmenter.segment(base64.b64decode(request.image_prompt), request.segment_prompt)
        mask = Mask(b64_json=base64.b64encode(png).decode(), score=score)
        return Answer(created=int(time.time()), data=[mask])

    return app


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.plain_server")
    parser.add_argument("--folder", type=Path, required=True, help="folder of the model")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--keep", type=int, default=0, help="number of cached images (default: 0)")
    parser.add_argument("--no-lock", action="store_true", help="let several threads use the model at once")
    parser.add_argument("--precision", choices=_TYPES, default="f32", help="precision of the model (default: f32)")
    options = parser.parse_args(arguments)
    lock = nullcontext() if options.no_lock else threading.Lock()
    segmenter = Segmenter(options.folder, options.keep, options.precision, lock)
    uvicorn.run(create_app(segmenter), port=options.port)


if __name__ == "__main__":
    main()
