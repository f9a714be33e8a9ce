"""SAM 2, SAM 2.1 and EdgeTAM as models for images."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from maskery.models.runtime import Backend
from maskery.models.sam.config import read_document
from maskery.models.sam.processing import Processor
from maskery.models.sam.promptable import Floats, PromptableModel, by_score
from maskery.models.sam.prompts import PromptEncoder
from maskery.models.sam.weights import Weights, check
from maskery.models.sam2.config import Sam2Config
from maskery.models.sam2.decoder import build_decoder
from maskery.models.sam2.encoder import build_encoder
from maskery.models.sam2.weights import expected_shapes, with_sam_names
from maskery.segmentation import ObjectPrompt


class Sam2(PromptableModel):
    """A SAM 2, SAM 2.1 or EdgeTAM network. Other arguments as of `PromptableModel`.

    Raises:
        UnsupportedModel: the folder does not contain a supported network.
        OSError: a file cannot be read.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        revision: str,
        precision: str = "auto",
        cache: Path | None = None,
        backend: Backend | None = None,
    ) -> None:
        self._config = config = Sam2Config.parse(read_document(folder / "config.json"))
        weights = Weights.open(folder / "model.safetensors")
        check(weights, expected_shapes(config), config.architecture)
        weights = replace(weights, tensors=with_sam_names(weights.tensors))
        super().__init__(
            name,
            folder,
            revision,
            precision,
            config=config,
            weights=weights,
            build_encoder=build_encoder,
            build_decoder=build_decoder,
            processor=Processor.read(folder, config.image_size, keep_aspect=False),
            prompts=PromptEncoder(weights, config.image_size, always_ends=True),
            stored=["embedding", "fine", "finest"],
            outputs=["logits", "scores"],
            cache=cache,
            backend=backend,
        )

    def choose(self, prompt: ObjectPrompt, outputs: Mapping[str, Floats], index: int) -> tuple[Floats, Floats]:
        """The candidates. An unstable single mask is replaced by the best of the other three.

        A mask is stable if its area changes little with the threshold (`Sam2Config.stability_threshold`).
        """
        logits, scores = outputs["logits"][index], outputs["scores"][index]
        order = by_score(scores, prompt)
        if not prompt.is_ambiguous and not self._is_stable(logits[0]):
            order = order[1:]
        return logits[order], scores[order]

    def _is_stable(self, logits: Floats) -> bool:
        delta = self._config.stability_delta
        inner, outer = (np.count_nonzero(logits > threshold) for threshold in (delta, -delta))
        return bool(inner >= self._config.stability_threshold * outer)


#: Loads an installed network.
load = Sam2
