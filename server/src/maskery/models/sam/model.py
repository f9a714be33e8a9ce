"""SAM and SAM-HQ as models."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.models.runtime import Graph, Network, Precision, best_precision, pad_rows, read_file, read_onnx
from maskery.models.sam.config import SamConfig, UnsupportedModel
from maskery.models.sam.decoder import build_decoder
from maskery.models.sam.encoder import build_encoder
from maskery.models.sam.graph import GraphBuilder
from maskery.models.sam.processing import Processor
from maskery.models.sam.prompts import PromptEncoder, token_count
from maskery.models.sam.weights import Weights, check
from maskery.segmentation import Candidates, Embedding, Image, ObjectPrompt, Size

Floats = NDArray[np.float32]

# Numbers of objects that the decoder is compiled for; other numbers are padded to the next.
_OBJECT_COUNTS = (1, 2, 4)
_FEWEST_TOKENS = 2

# Objects of several requests for one image that are decoded in one call: about a second's work.
_MAX_BATCH = 64

# Logit of a mask prompt on the object; off the object it is negative.
_MASK_LOGIT = 8.0


class Sam:
    """A SAM or SAM-HQ network, run by OpenVINO on the CPU.

    Args:
        name: that clients use.
        folder: with config.json, model.safetensors and the preprocessor's file.
        revision: of the weights.
        precision: of the network.
        quantized: use the int8 form of the image encoder that `quantize` made.
        hq_token_only: SAM-HQ returns its own token's mask alone, without adding it to SAM's masks.
        cache: folder for compiled networks, see `Network`.

    Raises:
        UnsupportedModel: the folder does not contain a supported network.
        OSError: a file cannot be read.
    """

    encode_out_of_process = True
    max_batch = _MAX_BATCH
    warmup_aspect_ratios = (1.0,)

    def __init__(
        self,
        name: str,
        folder: Path,
        revision: str,
        precision: Precision,
        quantized: bool = False,
        hq_token_only: bool = False,
        cache: Path | None = None,
    ) -> None:
        self.name = name
        self.revision = f"{revision}/{'int8' if quantized else precision}{'/hq' if hq_token_only else ''}"
        self._config = SamConfig.read(folder / "config.json")
        self._weights = weights = Weights.open(folder / "model.safetensors")
        check(weights, self._config)
        self.processor = Processor.read(folder, self._config.vision.image_size)
        self._prompts = PromptEncoder(weights, self._config.vision.image_size)
        self._hq_token_only = hq_token_only
        # The embedding is stored in the precision of the arithmetic, so that every prompt on an image decodes the same.
        self._stored = np.float32 if precision == "f32" else np.float16
        embedding = ["embedding", *(["hq_features"] if self._config.is_hq else [])]
        outputs = ["logits", "scores", *(["hq_logits"] if self._config.is_hq else [])]

        def decoder(name: str) -> Network:
            return Network(
                lambda: self.read_graph(name),
                precision,
                outputs,
                weights=weights.path,
                half=embedding if self._stored is np.float16 else (),
                dynamic={"prompt": [1], "attn_mask": [1]},
                cache=cache,
            )

        self.networks = {
            "encode": Network(
                lambda: self.read_graph("encode"), precision, embedding, weights=weights.path, cache=cache
            ),
            "decode": decoder("decode"),
            "decode-masks": decoder("decode-masks"),
        }
        if quantized:
            file = quantized_encoder(folder, revision)
            if not file.is_file():
                raise UnsupportedModel(
                    f"{name} has no int8 form yet: make it with `maskery models quantize {name} --images DIR`, "
                    "or choose another precision"
                )
            self.networks["encode"] = Network(
                lambda: read_file(file), precision, embedding, weights=file.with_suffix(".bin"), cache=cache
            )

    def build_graph(self, name: str) -> GraphBuilder:
        """Build the graph ``encode``, ``decode`` or ``decode-masks``."""
        builders: dict[str, Callable[[GraphBuilder], None]] = {
            "encode": lambda graph: build_encoder(graph, self._config),
            "decode": lambda graph: build_decoder(graph, self._config, with_masks=False),
            "decode-masks": lambda graph: build_decoder(graph, self._config, with_masks=True),
        }
        graph = GraphBuilder(self._weights)
        builders[name](graph)
        return graph

    def read_graph(self, name: str) -> Graph:
        """The graph of this name as OpenVINO reads it."""
        graph = self.build_graph(name)
        return read_onnx(graph.build(), graph.weight_arrays())

    def encode(self, image: Image) -> Embedding:
        """The embedding, and for SAM-HQ the fused features; half precision unless the network computes in f32."""
        arrays = self.networks["encode"].run({"pixel_values": self.processor.pixel_values(image)})
        stored = {name: array.astype(self._stored, copy=False) for name, array in arrays.items()}
        return Embedding(stored, image.size, self._config.vision.grid**2)

    def decode(self, embedding: Embedding, objects: Sequence[ObjectPrompt]) -> list[Candidates]:
        """The candidates of each object.

        For a single point, the three masks of the multimask mode, best first; for any other prompt the single mask,
        then these three.
        """
        candidates: dict[int, Candidates] = {}
        for indices in self._batches(objects):
            batch = [objects[index] for index in indices]
            candidates |= zip(indices, self._decode_batch(embedding, batch), strict=True)
        return [candidates[index] for index in range(len(objects))]

    def _batches(self, objects: Sequence[ObjectPrompt]) -> Iterator[list[int]]:
        """Indices of objects to decode together: of similar length, with or without a mask."""
        kinds: dict[tuple[bool, int], list[int]] = {}
        for index, each in enumerate(objects):
            kinds.setdefault((each.mask is not None, _bucket(token_count(each))), []).append(index)
        most = _OBJECT_COUNTS[-1]
        for indices in kinds.values():
            for start in range(0, len(indices), most):
                yield indices[start : start + most]

    def _decode_batch(self, embedding: Embedding, objects: Sequence[ObjectPrompt]) -> list[Candidates]:
        size = embedding.size
        fitted = self.processor.fit(size)
        scale = (fitted.width / size.width, fitted.height / size.height)
        # One length of all, so that the network has seen it before.
        tokens = _bucket(token_count(objects[0]))
        prompt, attn_mask = self._prompts.encode(objects, scale, tokens)
        count = next(count for count in _OBJECT_COUNTS if count >= len(objects))
        inputs = {**embedding.arrays, "prompt": pad_rows(prompt, count), "attn_mask": pad_rows(attn_mask, count)}
        network = self.networks["decode"]
        if objects[0].mask is not None:
            masks = np.stack([self.mask_logits(each.mask) for each in objects if each.mask is not None])
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
        # The three masks by predicted IoU, after the single mask, which was trained for unambiguous prompts.
        order = 1 + np.argsort(-scores[1:], kind="stable")
        if not prompt.is_ambiguous:
            order = np.concatenate([[0], order])
        # Of the padding, only what interpolation at the image's edge uses.
        columns, rows = (int(length) + 2 for length in extent)
        logits = outputs["logits"][index, order, :rows, :columns]
        if self._config.is_hq:
            fine = outputs["hq_logits"][index, :, :rows, :columns]
            logits = np.repeat(fine, len(order), axis=0) if self._hq_token_only else logits + fine
        return Candidates(logits, scores[order].clip(0, 1), extent)

    def mask_logits(self, mask: NDArray[np.bool_]) -> Floats:
        """A mask prompt bool [height, width] of the image as logits float32 [1, side, side]."""
        side, height, width = self._config.low_resolution, *mask.shape
        fitted = self.processor.fit(Size(width, height))
        columns = max(1, round(fitted.width / self.processor.side * side))
        rows = max(1, round(fitted.height / self.processor.side * side))
        share = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
        logits = np.full((1, side, side), -_MASK_LOGIT, np.float32)
        logits[0, :rows, :columns] = (2 * share - 1) * _MASK_LOGIT
        return logits


def load(
    name: str,
    folder: Path,
    revision: str,
    precision: str = "auto",
    hq_token_only: bool = False,
    cache: Path | None = None,
) -> Sam:
    """Load an installed network; arguments and errors as of `Sam`.

    Args:
        precision: f32; bf16; auto: bf16 if the processor computes in it, else f32; int8: the form that
            `maskery models quantize` makes, with the rest as auto.

    Raises:
        ValueError: unknown precision.
    """
    if precision not in {"auto", "f32", "bf16", "int8"}:
        raise ValueError(f"precision {precision!r} is not auto, f32, bf16 or int8")
    computed = best_precision() if precision in {"auto", "int8"} else cast(Precision, precision)
    return Sam(name, folder, revision, computed, precision == "int8", hq_token_only, cache)


def quantized_encoder(folder: Path, revision: str) -> Path:
    """The file with the int8 form of the image encoder; it depends on no other file but its `.bin`."""
    key = hashlib.sha256(revision.encode()).hexdigest()[:16]
    return folder / f"encode-int8-{key}.xml"


def _bucket(tokens: int) -> int:
    """The next power of two. The network sees few lengths, and prepares itself for each only once."""
    return max(_FEWEST_TOKENS, 1 << (tokens - 1).bit_length())
