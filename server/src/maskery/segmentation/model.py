"""What a model must offer to be served: the protocol, and what passes through it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from maskery.segmentation.image import Image, Size
from maskery.segmentation.prompt import ObjectPrompt


@dataclass(frozen=True, eq=False)
class Embedding:
    """What is kept of an image so that further prompts need not see it again.

    Attributes:
        arrays: by name, in the form in which they are stored; only the model that made them reads them.
        size: of the upright image.
        tokens: patches that the encoder saw.
    """

    arrays: Mapping[str, NDArray[np.generic]]
    size: Size
    tokens: int

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())


@dataclass(frozen=True, eq=False)
class Candidates:
    """A model's readings of one object, best first.

    Attributes:
        logits: float32 [candidates, rows, columns]; above zero is object.
        scores: float32 [candidates]; predicted IoU with the object that was meant, 0 to 1.
        extent: (columns, rows) of the grid that the image covers, from the grid's top left corner; the rest
            is padding. Fractions are meant: 683 rows of a 1024-pixel square are 170.75 rows of a 256 grid.
    """

    logits: NDArray[np.float32]
    scores: NDArray[np.float32]
    extent: tuple[float, float]

    def __len__(self) -> int:
        return len(self.scores)


class Model(Protocol):
    """A promptable segmentation model. Both calls are safe from several threads at once.

    Attributes:
        name: as clients write it, a Hugging Face repository name.
        revision: changes whenever the same image could give another embedding; part of every cache key.
        created: Unix time of the revision.
        owned_by: who made it.
        slow_encoder: whether an image takes seconds of all processors.
        max_batch: objects that are decoded in one call at no loss; 1 for models that treat them one by one.
        proportions: width over height of images of each kind that it has to be compiled for, the usual one first.
    """

    @property
    def name(self) -> str: ...

    @property
    def revision(self) -> str: ...

    @property
    def created(self) -> int: ...

    @property
    def owned_by(self) -> str: ...

    @property
    def slow_encoder(self) -> bool: ...

    @property
    def max_batch(self) -> int: ...

    @property
    def proportions(self) -> tuple[float, ...]: ...

    def encode(self, image: Image) -> Embedding:
        """Everything that depends on the image alone."""
        ...

    def decode(self, embedding: Embedding, objects: Sequence[ObjectPrompt]) -> list[Candidates]:
        """Candidates for each object, in order; an object's answer does not depend on the others."""
        ...
