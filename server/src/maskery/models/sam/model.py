"""SAM and SAM-HQ as models that can be served."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.models.runtime import Network, Precision, best_precision, pad_rows
from maskery.models.sam.config import SamConfig, UnsupportedModel
from maskery.models.sam.graph_cache import graph_files, quantised_encoder
from maskery.models.sam.processing import Processor
from maskery.models.sam.prompts import PromptEncoder, token_count
from maskery.models.sam.weights import Weights, check
from maskery.segmentation import Candidates, Embedding, Image, ObjectPrompt, Size

Floats = NDArray[np.float32]

# Objects decoded in one call of the network, and the counts that it is compiled for: every other count is filled up,
# so that shapes, and the memory that each takes, stay few.
_OBJECT_COUNTS = (1, 2, 4)
_FEWEST_TOKENS = 2

# Of several requests' objects that wait for one image, those that go into one call: about a second's work.
_MAX_BATCH = 64

# Logit that a mask prompt's pixels start from, on the object and off it.
_MASK_LOGIT = 8.0


class Sam:
    """A SAM or SAM-HQ network: OpenVINO on the CPU.

    Args:
        name: as clients write it.
        folder: with config.json, model.safetensors and the preprocessor's file.
        revision: of the weights.
        precision: in which the network computes.
        quantised: the image encoder is the int8 form that `quantize` made.
        hq_token_only: SAM-HQ answers by its own token alone, without adding the single mask or the three.

    Raises:
        UnsupportedModel: the folder holds no network that can be run here.
        OSError: a file cannot be read, or the graphs not be written.
    """

    slow_encoder = True
    max_batch = _MAX_BATCH
    proportions = (1.0,)

    def __init__(
        self,
        name: str,
        folder: Path,
        revision: str,
        precision: Precision,
        quantised: bool = False,
        hq_token_only: bool = False,
    ) -> None:
        self.name = name
        self.revision = f"{revision}/{'int8' if quantised else precision}{'/hq' if hq_token_only else ''}"
        self.created = int((folder / "model.safetensors").stat().st_mtime)
        self.owned_by = name.partition("/")[0]
        self._config = SamConfig.read(folder / "config.json")
        weights = Weights.open(folder / "model.safetensors")
        check(weights, self._config)
        self.processor = Processor.read(folder, self._config.vision.image_size)
        self._prompts = PromptEncoder(weights, self._config.vision.image_size)
        self._hq_token_only = hq_token_only
        graphs = self.graphs = graph_files(folder, weights, self._config, revision)
        # Kept and decoded at the precision that the arithmetic has, so that the first click and the tenth agree.
        self._kept = np.float32 if precision == "f32" else np.float16
        stored = ["embedding", *(["hq_features"] if self._config.is_hq else [])]
        half = stored if self._kept is np.float16 else []
        answered = ["logits", "scores", *(["hq_logits"] if self._config.is_hq else [])]
        self.networks = {
            "encode": Network(graphs["encode"], precision, stored, weights.path),
            "decode": Network(graphs["decode"], precision, answered, weights.path, half),
            "decode-masks": Network(graphs["decode-masks"], precision, answered, weights.path, half),
        }
        if quantised:
            file = quantised_encoder(folder, revision)
            if not file.is_file():
                raise UnsupportedModel(
                    f"{name} has no int8 form yet: make it with `maskery models quantize {name} --images DIR`, "
                    "or choose another precision"
                )
            self.networks["encode"] = Network(file, precision, stored, file.with_suffix(".bin"))

    def encode(self, image: Image) -> Embedding:
        """The embedding, and for SAM-HQ the fused features; half precision unless the network computes in f32."""
        arrays = self.networks["encode"].run({"pixel_values": self.processor.pixel_values(image)})
        kept = {name: array.astype(self._kept, copy=False) for name, array in arrays.items()}
        return Embedding(kept, image.size, self._config.vision.grid**2)

    def decode(self, embedding: Embedding, objects: Sequence[ObjectPrompt]) -> list[Candidates]:
        """A single click is answered by the three masks of the multimask mode, best first; any other prompt by the
        single mask, with the three after it.
        """
        answers: dict[int, Candidates] = {}
        for places in self._batches(objects):
            batch = [objects[place] for place in places]
            answers |= zip(places, self._decode_batch(embedding, batch), strict=True)
        return [answers[place] for place in range(len(objects))]

    def _batches(self, objects: Sequence[ObjectPrompt]) -> Iterator[list[int]]:
        """Places of objects that go through the network together: alike in length, masks apart."""
        kinds: dict[tuple[bool, int], list[int]] = {}
        for place, each in enumerate(objects):
            kinds.setdefault((each.mask is not None, _bucket(token_count(each))), []).append(place)
        most = _OBJECT_COUNTS[-1]
        for places in kinds.values():
            for start in range(0, len(places), most):
                yield places[start : start + most]

    def _decode_batch(self, embedding: Embedding, objects: Sequence[ObjectPrompt]) -> list[Candidates]:
        size = embedding.size
        fitted = self.processor.fit(size)
        scale = (fitted.width / size.width, fitted.height / size.height)
        prompt, hidden = self._prompts.encode(objects, scale, max(_bucket(token_count(each)) for each in objects))
        count = next(count for count in _OBJECT_COUNTS if count >= len(objects))
        inputs = {**embedding.arrays, "prompt": pad_rows(prompt, count), "hidden": pad_rows(hidden, count)}
        network = self.networks["decode"]
        if objects[0].mask is not None:
            masks = np.stack([self.start_from(each.mask) for each in objects if each.mask is not None])
            inputs["masks"] = pad_rows(masks, count)
            network = self.networks["decode-masks"]
        outputs = network.run(inputs)
        side = self._config.low_resolution
        extent = (fitted.width / self.processor.side * side, fitted.height / self.processor.side * side)
        return [self._candidates(each, outputs, index, extent) for index, each in enumerate(objects)]

    def _candidates(
        self, prompt: ObjectPrompt, outputs: dict[str, Floats], index: int, extent: tuple[float, float]
    ) -> Candidates:
        scores = outputs["scores"][index]
        # The three readings by predicted IoU; the single mask is made for prompts that leave no doubt.
        order = 1 + np.argsort(-scores[1:], kind="stable")
        if not prompt.is_ambiguous:
            order = np.concatenate([[0], order])
        # No more of the padding than interpolation at the image's edge looks at.
        columns, rows = (int(length) + 2 for length in extent)
        logits = outputs["logits"][index, order, :rows, :columns]
        if self._config.is_hq:
            fine = outputs["hq_logits"][index, :, :rows, :columns]
            logits = np.repeat(fine, len(order), axis=0) if self._hq_token_only else logits + fine
        return Candidates(logits, scores[order].clip(0, 1), extent)

    def start_from(self, mask: NDArray[np.bool_]) -> Floats:
        """A mask to start from, bool [height, width] of the image, as logits float32 [1, side, side]."""
        side, height, width = self._config.low_resolution, *mask.shape
        fitted = self.processor.fit(Size(width, height))
        columns = max(1, round(fitted.width / self.processor.side * side))
        rows = max(1, round(fitted.height / self.processor.side * side))
        share = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
        logits = np.full((1, side, side), -_MASK_LOGIT, np.float32)
        logits[0, :rows, :columns] = (2 * share - 1) * _MASK_LOGIT
        return logits


def load(name: str, folder: Path, revision: str, precision: str = "auto", hq_token_only: bool = False) -> Sam:
    """An installed network; errors as of `Sam`.

    Args:
        precision: f32; bf16; int8, which needs the form that `maskery models quantize` makes, computes the rest as
            auto; auto: bf16 where the processor computes in it, else f32.
        hq_token_only: as of `Sam`.

    Raises:
        ValueError: there is no such precision.
    """
    if precision in {"auto", "int8"}:
        return Sam(name, folder, revision, best_precision(), precision == "int8", hq_token_only)
    for fixed in get_args(Precision):
        if precision == fixed:
            return Sam(name, folder, revision, fixed, False, hq_token_only)
    raise ValueError(f"precision {precision!r} is not auto, f32, bf16 or int8")


def _bucket(tokens: int) -> int:
    """The next power of two: the network is compiled for few lengths."""
    return max(_FEWEST_TOKENS, 1 << (tokens - 1).bit_length())
