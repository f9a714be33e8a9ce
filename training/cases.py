"""What choices are measured on, and what came of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.clicks import Click
from training.data import Library, Photo, Thing

Bytes = NDArray[np.uint8]

# Smaller things are not what a person clicks on in an image shown as a whole; of alike ones a few say enough.
_LEAST_SHARE = 0.01
_MOST_OF_A_PHOTO = 3


@dataclass(frozen=True, eq=False)
class Case:
    """A thing to be found.

    Attributes:
        source: where the photo is from.
        pixels: uint8 [rows, columns, 3].
        mask: uint8 [rows, columns], 0 or 1.
    """

    source: str
    pixels: Bytes
    mask: Bytes


@dataclass(frozen=True, eq=False)
class Course:
    """What came of a case.

    Attributes:
        ious: after each click.
        borders: how well borders agree after each click, see `training.evaluate.border_agreement`.
        first: IoU of each of the three answers to the first click, the one that was judged best first.
        score: of that one.
        clicks: that were made.
        answers: uint8 [rows, columns] after each click, 0 or 1.
    """

    ious: list[float]
    borders: list[float]
    first: list[float]
    score: float
    clicks: list[Click]
    answers: list[Bytes]


def cases(held: Library, per_source: int = 60) -> list[Case]:
    """The largest whole things of the held-out photos, the same at every call."""
    found: list[Case] = []
    for source in sorted({photo.source for photo in held.photos}):
        photos = [photo for photo in held.photos if photo.source == source]
        mine = [Case(source, photo.pixels, thing.mask()) for photo in photos for thing in _asked(photo)]
        order = np.random.default_rng(0).permutation(len(mine))[:per_source]
        found += [mine[index] for index in sorted(order)]
    return found


def _asked(photo: Photo) -> list[Thing]:
    wholes = [thing for thing in photo.things if thing.whole and thing.area > _LEAST_SHARE * photo.pixels[:, :, 0].size]
    return sorted(wholes, key=lambda thing: -thing.area)[:_MOST_OF_A_PHOTO]
