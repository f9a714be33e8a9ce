"""What the models of the Segment Anything family have in common: batching, tensors, mask prompts, int8."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.models.runtime import Backend, Graph, Network, choose_precision, open_backend, pad_rows
from maskery.models.sam.config import UnsupportedModel
from maskery.models.sam.graph import GraphBuilder
from maskery.models.sam.processing import Processor
from maskery.models.sam.prompts import PromptEncoder
from maskery.models.sam.weights import Weights
from maskery.segmentation import Candidates, Earlier, Embedding, Image, ObjectPrompt, Size

Floats = NDArray[np.float32]

# Numbers of objects that the decoder is compiled for; other numbers are padded to the next.
_OBJECT_COUNTS = (1, 2, 4)
_FEWEST_TOKENS = 2

# Objects of several requests for one image that are decoded in one call: about a second's work.
_MAX_BATCH = 64

# Logit of a mask prompt on the object; off the object it is negative.
_MASK_LOGIT = 8.0


class Config(Protocol):
    """The sizes that every network of the family has."""

    @property
    def grid(self) -> int:
        """Cells of the embedding along a side."""
        ...

    @property
    def low_resolution(self) -> int:
        """Side of the decoder's square output, in logits."""
        ...


class PromptableModel(ABC):
    """A network that encodes an image once and decodes prompts on it, run by any backend.

    Args:
        name: that clients use.
        folder: with config.json, model.safetensors and the preprocessor's file.
        revision: of the weights.
        precision: value of the setting.
        config: its sizes.
        weights: its tensors.
        build_encoder, build_decoder: add the nodes of a network of this config to a graph, those of the decoder with or
            without mask prompts.
        processor: prepares images.
        prompts: encodes points and boxes.
        stored: outputs of the encoder, which are the inputs of the decoder beside the prompt.
        outputs: of the decoder.
        cache: folder for compiled networks, see `Network`.
        backend: that runs the network; None: OpenVINO on the CPU.

    Raises:
        DeviceError: the backend does not support the precision.
        UnsupportedModel: there is no int8 form.
    """

    encode_out_of_process = True
    max_batch = _MAX_BATCH
    warmup_aspect_ratios = (1.0,)

    def __init__(
        self,
        name: str,
        folder: Path,
        revision: str,
        precision: str,
        *,
        config: Config,
        weights: Weights,
        build_encoder: Callable[[GraphBuilder, Any], None],
        build_decoder: Callable[[GraphBuilder, Any, bool], None],
        processor: Processor,
        prompts: PromptEncoder,
        stored: Sequence[str],
        outputs: Sequence[str],
        cache: Path | None = None,
        backend: Backend | None = None,
    ) -> None:
        backend = backend or open_backend("cpu")
        computed, quantized = choose_precision(precision, backend), precision == "int8"
        self.name = name
        self.revision = f"{revision}/{'int8' if quantized else computed}"
        self.processor = processor
        self._sizes, self._weights, self._prompts = config, weights, prompts
        self._build_encoder, self._build_decoder = build_encoder, build_decoder
        # The embedding is stored in the precision of the arithmetic, so that every prompt on an image decodes the same.
        self._stored = np.float32 if computed == "f32" else np.float16

        def decoder(name: str) -> Network:
            return Network(
                lambda: self.graph(name),
                computed,
                outputs,
                weights=weights.path,
                half=stored if self._stored is np.float16 else (),
                dynamic={"prompt": [1], "attn_mask": [1]},
                cache=cache,
                backend=backend,
            )

        def encoder(read: Callable[[], Graph], file: Path) -> Network:
            return Network(read, computed, stored, weights=file, cache=cache, backend=backend)

        self.networks = {
            "encode": encoder(lambda: self.graph("encode"), weights.path),
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
            self.networks["encode"] = encoder(lambda: Graph(file), file.with_suffix(".bin"))

    @abstractmethod
    def choose(self, prompt: ObjectPrompt, outputs: Mapping[str, Floats], index: int) -> tuple[Floats, Floats]:
        """The candidates of one object: logits float32 [candidates, side, side] and scores [candidates].

        Args:
            outputs: of the decoder, for several objects.
            index: of this object.
        """

    def build_graph(self, name: str) -> GraphBuilder:
        """Build the graph ``encode``, ``decode`` or ``decode-masks``, the decoder for mask prompts."""
        graph = GraphBuilder(self._weights)
        if name == "encode":
            self._build_encoder(graph, self._sizes)
        else:
            self._build_decoder(graph, self._sizes, name == "decode-masks")
        return graph

    def graph(self, name: str) -> Graph:
        """The graph of this name with its weights."""
        builder = self.build_graph(name)
        return Graph(builder.build(), builder.weight_arrays())

    def encode(self, image: Image) -> Embedding:
        """The outputs of the encoder; half precision unless the network computes in f32."""
        arrays = self.networks["encode"].run({"pixel_values": self.processor.pixel_values(image)})
        stored = {name: array.astype(self._stored, copy=False) for name, array in arrays.items()}
        return Embedding(stored, image.size, self._sizes.grid**2)

    def decode(
        self, embedding: Embedding, objects: Sequence[ObjectPrompt], earlier: Sequence[Earlier | None] | None = None
    ) -> list[Candidates]:
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
            kinds.setdefault((each.mask is not None, _bucket(self._prompts.token_count(each))), []).append(index)
        most = _OBJECT_COUNTS[-1]
        for indices in kinds.values():
            for start in range(0, len(indices), most):
                yield indices[start : start + most]

    def _decode_batch(self, embedding: Embedding, objects: Sequence[ObjectPrompt]) -> list[Candidates]:
        size = embedding.size
        fitted = self.processor.fit(size)
        scale = (fitted.width / size.width, fitted.height / size.height)
        # One length of all, so that the network has seen it before.
        tokens = _bucket(self._prompts.token_count(objects[0]))
        prompt, attn_mask = self._prompts.encode(objects, scale, tokens)
        count = next(count for count in _OBJECT_COUNTS if count >= len(objects))
        inputs = {**embedding.arrays, "prompt": pad_rows(prompt, count), "attn_mask": pad_rows(attn_mask, count)}
        network = self.networks["decode"]
        if objects[0].mask is not None:
            masks = np.stack([self.mask_logits(each.mask) for each in objects if each.mask is not None])
            inputs["masks"] = pad_rows(masks, count)
            network = self.networks["decode-masks"]
        outputs = network.run(inputs)
        side = self._sizes.low_resolution
        extent = (fitted.width / self.processor.side * side, fitted.height / self.processor.side * side)
        return [self._candidates(each, outputs, index, extent) for index, each in enumerate(objects)]

    def _candidates(
        self, prompt: ObjectPrompt, outputs: Mapping[str, Floats], index: int, extent: tuple[float, float]
    ) -> Candidates:
        logits, scores = self.choose(prompt, outputs, index)
        # Of the padding, only what interpolation at the image's edge uses.
        columns, rows = (int(length) + 2 for length in extent)
        return Candidates(logits[:, :rows, :columns], scores.clip(0, 1), extent)

    def mask_logits(self, mask: NDArray[np.bool_]) -> Floats:
        """A mask prompt bool [height, width] of the image as logits float32 [1, side, side]."""
        side, height, width = self._sizes.low_resolution, *mask.shape
        fitted = self.processor.fit(Size(width, height))
        columns = max(1, round(fitted.width / self.processor.side * side))
        rows = max(1, round(fitted.height / self.processor.side * side))
        share = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
        logits = np.full((1, side, side), -_MASK_LOGIT, np.float32)
        logits[0, :rows, :columns] = (2 * share - 1) * _MASK_LOGIT
        return logits


def by_score(scores: Floats, prompt: ObjectPrompt) -> NDArray[np.int64]:
    """Indices of outputs: the three masks by predicted IoU, after the single mask, trained for unambiguous prompts."""
    order = 1 + np.argsort(-scores[1:], kind="stable")
    return order if prompt.is_ambiguous else np.concatenate([[0], order])


def quantized_encoder(folder: Path, revision: str) -> Path:
    """The file with the int8 form of the image encoder; it depends on no other file but its `.bin`."""
    key = hashlib.sha256(revision.encode()).hexdigest()[:16]
    return folder / f"encode-int8-{key}.xml"


def _bucket(tokens: int) -> int:
    """The next power of two. The network sees few lengths, and prepares itself for each only once."""
    return max(_FEWEST_TOKENS, 1 << (tokens - 1).bit_length())
