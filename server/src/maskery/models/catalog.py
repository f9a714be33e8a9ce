"""The table of models that are known by name."""

from dataclasses import dataclass
from typing import Literal

Architecture = Literal["grabcut", "nano", "sam", "sam_hq"]


@dataclass(frozen=True)
class Entry:
    """A known model.

    Attributes:
        name: Hugging Face repository name that clients use.
        architecture: selects the implementation.
        licence: SPDX identifier of the weights' licence.
        parameters: of the network, in millions; 0 for a model without a network.
        summary: its use, in a few words.
        created: Unix time of a built-in model's revision; None: the model is not built in.
    """

    name: str
    architecture: Architecture
    licence: str
    parameters: int
    summary: str
    created: int | None = None

    @property
    def built_in(self) -> bool:
        """Whether the model is part of this package."""
        return self.created is not None


CATALOG = {
    entry.name: entry
    for entry in (
        Entry("maskery/nano", "nano", "Apache-2.0", 3, "small and fast network; the default", 1795392000),
        Entry("maskery/grabcut", "grabcut", "Apache-2.0", 0, "training-free baseline", 1767225600),
        Entry("syscv-community/sam-hq-vit-base", "sam_hq", "Apache-2.0", 94, "sharp edges, the usual choice"),
        Entry("syscv-community/sam-hq-vit-large", "sam_hq", "Apache-2.0", 313, "sharp edges, slower"),
        Entry("syscv-community/sam-hq-vit-huge", "sam_hq", "Apache-2.0", 642, "sharp edges, slowest"),
        Entry("facebook/sam-vit-base", "sam", "Apache-2.0", 94, "Segment Anything"),
        Entry("facebook/sam-vit-large", "sam", "Apache-2.0", 312, "Segment Anything, slower"),
        Entry("facebook/sam-vit-huge", "sam", "Apache-2.0", 641, "Segment Anything, slowest"),
    )
}

#: Names of the built-in models.
BUILT_IN = tuple(entry.name for entry in CATALOG.values() if entry.built_in)

DEFAULT_MODEL = "maskery/nano"
