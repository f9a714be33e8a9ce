"""Places the arrays of an embedding in one block of bytes, for other processes and for files."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from mmap import mmap
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Vector instructions load whole cache lines.
_ALIGNMENT = 64


class Place(NamedTuple):
    """An array in the block.

    Attributes:
        dtype: in the notation of numpy's `dtype.str`.
        offset: of its first byte in the block.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int

    def view(self, block: mmap, start: int = 0) -> NDArray[np.generic]:
        """The array in a block that begins at byte `start`; it keeps the memory alive."""
        flat = np.frombuffer(block, np.dtype(self.dtype), math.prod(self.shape), start + self.offset)
        return flat.reshape(self.shape)


@dataclass(frozen=True)
class Layout:
    """The places of all arrays, and the size of the block."""

    places: tuple[Place, ...]
    nbytes: int

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[np.generic]]) -> "Layout":
        places, end = [], 0
        for name, array in arrays.items():
            offset = aligned(end)
            places.append(Place(name, array.dtype.str, array.shape, offset))
            end = offset + array.nbytes
        return cls(tuple(places), end)

    def write(self, block: mmap, arrays: Mapping[str, NDArray[np.generic]], start: int = 0) -> None:
        """Copy the arrays into a block that begins at byte `start`."""
        for place in self.places:
            place.view(block, start)[...] = arrays[place.name]

    def read(self, block: mmap, start: int = 0) -> dict[str, NDArray[np.generic]]:
        """The arrays, as views of the block."""
        return {place.name: place.view(block, start) for place in self.places}


def aligned(nbytes: int) -> int:
    """The next multiple of the alignment of arrays."""
    return -(-nbytes // _ALIGNMENT) * _ALIGNMENT
