"""The models that are known by name: one table."""

from dataclasses import dataclass
from typing import Literal

Architecture = Literal["grabcut", "nano", "sam", "sam_hq"]


@dataclass(frozen=True)
class Entry:
    """A model that can be served.

    Attributes:
        name: as clients write it, a Hugging Face repository name.
        architecture: which part of this package runs it.
        licence: SPDX identifier of the weights' licence.
        parameters: of the network, in millions; 0 where there is nothing to learn.
        summary: what it is for, in a few words.
        built_in: ships inside this package.
    """

    name: str
    architecture: Architecture
    licence: str
    parameters: int
    summary: str
    built_in: bool = False

    @property
    def owner(self) -> str:
        return self.name.partition("/")[0]


CATALOG = {
    entry.name: entry
    for entry in (
        Entry("maskery/nano", "nano", "Apache-2.0", 3, "small network of our own, quick; the default", built_in=True),
        Entry("maskery/grabcut", "grabcut", "Apache-2.0", 0, "training-free baseline", built_in=True),
        Entry("syscv-community/sam-hq-vit-base", "sam_hq", "Apache-2.0", 94, "sharp edges, the usual choice"),
        Entry("syscv-community/sam-hq-vit-large", "sam_hq", "Apache-2.0", 313, "sharp edges, slower"),
        Entry("syscv-community/sam-hq-vit-huge", "sam_hq", "Apache-2.0", 642, "sharp edges, slowest"),
        Entry("facebook/sam-vit-base", "sam", "Apache-2.0", 94, "Segment Anything"),
        Entry("facebook/sam-vit-large", "sam", "Apache-2.0", 312, "Segment Anything, slower"),
        Entry("facebook/sam-vit-huge", "sam", "Apache-2.0", 641, "Segment Anything, slowest"),
    )
}

#: Names of the models that every installation has.
BUILT_IN = tuple(entry.name for entry in CATALOG.values() if entry.built_in)

DEFAULT_MODEL = "maskery/nano"
