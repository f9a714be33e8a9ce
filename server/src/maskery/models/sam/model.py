"""SAM and SAM-HQ as models."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from maskery.models.runtime import Backend
from maskery.models.sam.config import SamConfig, read_document
from maskery.models.sam.decoder import build_decoder
from maskery.models.sam.encoder import build_encoder
from maskery.models.sam.processing import Processor
from maskery.models.sam.promptable import Floats, PromptableModel, by_score
from maskery.models.sam.prompts import PromptEncoder
from maskery.models.sam.weights import Weights, check, expected_shapes
from maskery.segmentation import ObjectPrompt


class Sam(PromptableModel):
    """A SAM or SAM-HQ network. Other arguments as of `PromptableModel`.

    Args:
        hq_token_only: SAM-HQ returns its own token's mask alone, without adding it to SAM's masks.

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
        hq_token_only: bool = False,
        cache: Path | None = None,
        backend: Backend | None = None,
    ) -> None:
        self._config = config = SamConfig.parse(read_document(folder / "config.json"))
        weights = Weights.open(folder / "model.safetensors")
        check(weights, expected_shapes(config), config.architecture)
        self._hq_token_only = hq_token_only
        super().__init__(
            name,
            folder,
            revision,
            precision,
            config=config,
            weights=weights,
            build_encoder=build_encoder,
            build_decoder=build_decoder,
            processor=Processor.read(folder, config.vision.image_size),
            prompts=PromptEncoder(weights, config.vision.image_size),
            stored=["embedding", *(["hq_features"] if config.is_hq else [])],
            outputs=["logits", "scores", *(["hq_logits"] if config.is_hq else [])],
            cache=cache,
            backend=backend,
        )
        self.revision += "/hq" if hq_token_only else ""

    def choose(self, prompt: ObjectPrompt, outputs: Mapping[str, Floats], index: int) -> tuple[Floats, Floats]:
        """The candidates, to which SAM-HQ adds the mask of its own token, or with `hq_token_only` that mask alone."""
        scores = outputs["scores"][index]
        order = by_score(scores, prompt)
        logits = outputs["logits"][index, order]
        if self._config.is_hq:
            fine = outputs["hq_logits"][index]
            logits = np.repeat(fine, len(order), axis=0) if self._hq_token_only else logits + fine
        return logits, scores[order]


#: Loads an installed network.
load = Sam
