"""The protocol of a segmentation model, and the types of its inputs and outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from maskery.segmentation.image import Image, Size
from maskery.segmentation.prompt import ObjectPrompt
from maskery.segmentation.upscale import decoded


@dataclass(frozen=True, eq=False)
class Embedding:
    """The encoder's output for one image, reused for every prompt on it.

    Attributes:
        arrays: by name, in the precision in which they are stored; their meaning is the model's own.
        size: of the upright image.
        tokens: number of image patches that the encoder saw.
    """

    arrays: Mapping[str, NDArray[np.generic]]
    size: Size
    tokens: int

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())


@dataclass(frozen=True, eq=False)
class Candidates:
    """A model's candidate masks of one object, best first.

    Attributes:
        logits: float32 [candidates, rows, columns], or int8 with a `table`; above zero is object.
        scores: float32 [candidates]; predicted IoU with the intended object, 0 to 1.
        extent: (columns, rows) of the grid that the image covers, counted from the grid's top left corner; the rest
            is padding. Fractions are significant: 683 rows of a 1024-pixel square are 170.75 rows of a 256 grid.
        state: arrays by name from which the model continues when points are added to this prompt, see `Earlier`; their
            meaning is the model's own. None: it starts anew.
        table: float32 [256], the logit of each of the 8 bits' values, in the order of unsigned numbers. It keeps the
            sign. None: the logits are not coded.
    """

    logits: NDArray[np.float32] | NDArray[np.int8]
    scores: NDArray[np.float32]
    extent: tuple[float, float]
    state: Mapping[str, NDArray[np.generic]] | None = None
    table: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def logits_of(self, rank: int) -> NDArray[np.float32]:
        """The logits of one candidate, float32 [rows, columns]."""
        return decoded(self.logits[rank], self.table)

    @property
    def nbytes(self) -> int:
        arrays = (self.logits, self.scores, *(self.state or {}).values())
        return sum(array.nbytes for array in arrays)


@dataclass(frozen=True, eq=False)
class Earlier:
    """What a model has decoded before for the beginning of a prompt, on the same embedding.

    Attributes:
        points: the number of the prompt's points, counted from its first, that were decoded: at least 0 and fewer than
            the prompt has. Their order and labels, the box and the mask prompt were the same.
        candidates: of these points; their `state` is not None.
    """

    points: int
    candidates: Candidates


class Decoding(Protocol):
    """What decodes prompts. Thread-safe.

    Attributes:
        name: Hugging Face repository name that clients use.
        max_batch: number of objects that one call of `decode` handles without loss; 1 for models that decode them one
            by one.
    """

    @property
    def name(self) -> str: ...

    @property
    def max_batch(self) -> int: ...

    def decode(
        self,
        embedding: Embedding,
        objects: Sequence[ObjectPrompt],
        earlier: Sequence[Earlier | None] | None = None,
    ) -> list[Candidates]:
        """The candidates of each object, in order. The result for an object does not depend on the others.

        Args:
            earlier: per object what was decoded before for its first points, if that is known. It saves a model time
                that decodes points one after another; the result is the same, bit for bit, without it.
        """
        ...


class Model(Decoding, Protocol):
    """A promptable segmentation model. `encode` and `decode` are thread-safe.

    Attributes:
        revision: changes whenever the same image could give another embedding, or a prompt on it other candidates; part
            of every cache key.
        encode_out_of_process: encoding an image occupies all processors for seconds, so it belongs in a process of
            its own.
        warmup_aspect_ratios: width / height of an image for each input shape that is compiled, the most common first.
    """

    @property
    def revision(self) -> str: ...

    @property
    def encode_out_of_process(self) -> bool: ...

    @property
    def warmup_aspect_ratios(self) -> tuple[float, ...]: ...

    def encode(self, image: Image) -> Embedding:
        """Compute everything that depends on the image alone."""
        ...
