"""Objects to put into images: cut-outs, objects cut out of photos, and made-up ones."""

from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from training import assemblies
from training.data import Library, Photo
from training.solids import NOTHING

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Sprite:
    """A thing without surroundings.

    Attributes:
        pixels: uint8 [height, width, 4], RGB and opacity.
        parts: uint8 [height, width] each, 0 or 1.
    """

    pixels: Bytes
    parts: tuple[Bytes, ...] = ()


class Sprites:
    """Draws sprites at random from a library."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._photos = [photo for photo in library.photos if photo.things]
        weights = Library(self._photos).weights()
        self._chances = np.cumsum(weights)

    def draw(self, random: np.random.Generator) -> Sprite:
        """Any kind."""
        kind = random.random()
        if kind < 0.28 and self._library.cutouts:
            return self.cutout(random)
        if kind < 0.5:
            return self.thing(random)
        return self.assembled(random) if kind < 0.8 else self.invented(random)

    def photo(self, random: np.random.Generator) -> Photo:
        index = int(np.searchsorted(self._chances, random.random()))
        return self._photos[min(index, len(self._photos) - 1)]

    def cutout(self, random: np.random.Generator) -> Sprite:
        return Sprite(self._library.cutouts[random.integers(len(self._library.cutouts))])

    def thing(self, random: np.random.Generator) -> Sprite:
        """A whole thing of a photo with its parts."""
        photo = self.photo(random)
        wholes = [thing for thing in photo.things if thing.whole] or list(photo.things)
        thing = wholes[random.integers(len(wholes))]
        x, y, width, height = thing.box
        window = slice(y, y + height), slice(x, x + width)
        opacity = thing.mask()[window] * np.uint8(255)
        # Borders are off by a pixel or so and carry the colours of where the thing was.
        pixels = np.dstack([photo.pixels[window], cv2.erode(opacity, np.ones((3, 3), np.uint8))]).astype(np.uint8)
        parts = [photo.things[index] for index in thing.parts]
        shown = sorted(parts, key=lambda part: -part.area)[:4]
        return Sprite(pixels, tuple(np.ascontiguousarray(part.mask()[window]) for part in shown))

    def assembled(self, random: np.random.Generator) -> Sprite:
        """One of the assemblies, with its parts that are to be seen."""
        view = assemblies.draw(random, partial(self.texture, random))
        shown = [(view.parts == part).astype(np.uint8) for part in np.unique(view.parts) if part != NOTHING]
        large = [part for part in shown if part.mean() > 0.01]
        return Sprite(view.pixels, tuple(large[:6]) if len(large) > 1 else ())

    def invented(self, random: np.random.Generator, side: int = 128) -> Sprite:
        """A silhouette filled with parts of different texture and shaded as if it were round."""
        opacity = self._silhouette(random, side)
        inside = (opacity > 127).astype(np.uint8)
        count = int(random.choice((1, 2, 3, 4, 5), p=(0.3, 0.25, 0.2, 0.15, 0.1)))
        owner = _partition(random, side, count)
        colours = np.empty((side, side, 3), np.uint8)
        for index in range(count):
            np.copyto(colours, self.texture(random, side), where=(owner == index)[:, :, None])
        pixels = np.dstack([_shade(colours, inside, random), opacity])
        parts = [inside & (owner == index) for index in range(count)] if count > 1 else []
        return Sprite(pixels, tuple(part.astype(np.uint8) for part in parts))

    def texture(self, random: np.random.Generator, side: int) -> Bytes:
        """uint8 [side, side, 3]: a piece of a photo, or a colour that hardly changes."""
        if random.random() < 0.35:
            ends = random.integers(0, 256, (2, 1, 3)).astype(np.float32)
            ends[1] = ends[0] + (ends[1] - ends[0]) * random.uniform(0, 0.5)
            ramp = cv2.resize(ends, (side, side), interpolation=cv2.INTER_LINEAR)
            ramp = ramp.transpose(1, 0, 2) if random.random() < 0.5 else ramp
            ramp = ramp + random.normal(0, random.uniform(0, 10), (side, side, 1))
            return ramp.clip(0, 255).astype(np.uint8)
        pixels = self.photo(random).pixels
        rows, columns = pixels.shape[:2]
        size = int(min(rows, columns) * random.uniform(0.12, 0.7))
        y, x = random.integers(rows - size), random.integers(columns - size)
        piece = cv2.resize(pixels[y : y + size, x : x + size], (side, side), interpolation=cv2.INTER_AREA)
        if random.random() < 0.3:
            piece = piece[:, :, random.permutation(3)]
        return piece.astype(np.uint8, copy=False)

    def _silhouette(self, random: np.random.Generator, side: int) -> Bytes:
        kind = random.random()
        if kind < 0.3:
            return _blob(random, side)
        source = self.cutout(random) if kind < 0.8 and self._library.cutouts else self.thing(random)
        opacity = source.pixels[:, :, 3]
        how = cv2.INTER_AREA if min(opacity.shape) > side else cv2.INTER_CUBIC
        shape = cv2.resize(opacity, (side, side), interpolation=how)
        return shape.astype(np.uint8, copy=False)


def _blob(random: np.random.Generator, side: int) -> Bytes:
    """Overlapping ellipses, boxes and bars."""
    shape = np.zeros((side, side), np.uint8)
    middle = np.array((side / 2, side / 2))
    for _ in range(random.integers(1, 6)):
        half = side * random.uniform(0.06, 0.32, 2)
        centre = (float(middle[0]), float(middle[1]))
        angle = float(random.uniform(0, 180))
        rectangle = (centre, (float(2 * half[0]), float(2 * half[1])), angle)
        if random.random() < 0.6:
            cv2.ellipse(shape, rectangle, 255, -1, cv2.LINE_AA)
        else:
            cv2.fillPoly(shape, [cv2.boxPoints(rectangle).astype(np.int32)], 255, cv2.LINE_AA)
        middle = (middle + random.uniform(-1, 1, 2) * half).clip(side * 0.2, side * 0.8)
    return shape


def _partition(random: np.random.Generator, side: int, count: int) -> NDArray[np.intp]:
    """Owners [side, side], 0 to count - 1: stripes, or places nearest to random points, with wavy borders."""
    wave = cv2.resize(random.normal(0, 1, (5, 5, 2)), (side, side), interpolation=cv2.INTER_CUBIC) * side * 0.05
    y, x = np.mgrid[:side, :side]
    x, y = x + wave[:, :, 0], y + wave[:, :, 1]
    if random.random() < 0.5:
        angle = random.uniform(0, np.pi)
        along = x * np.cos(angle) + y * np.sin(angle)
        low, high = np.quantile(along[::8, ::8], (0.15, 0.85))
        cuts = np.sort(random.uniform(low, high, count - 1))
        stripes: NDArray[np.intp] = np.searchsorted(cuts, along.ravel()).reshape(side, side)
        return stripes
    seeds = random.uniform(0.1 * side, 0.9 * side, (count, 2))
    distances = [(x - seed[0]) ** 2 + (y - seed[1]) ** 2 for seed in seeds]
    nearest: NDArray[np.intp] = np.argmin(distances, axis=0)
    return nearest


def _shade(colours: Bytes, inside: Bytes, random: np.random.Generator) -> Bytes:
    side = len(inside)
    light = np.ones((side, side), np.float32)
    if random.random() < 0.6:
        direction = random.uniform(-0.5, 0.5, 2)
        y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
        light += (x * direction[0] + y * direction[1]).astype(np.float32)
    if random.random() < 0.5:
        depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
        light *= 1 - random.uniform(0.1, 0.6) * np.exp(-depth / (side * random.uniform(0.02, 0.12)))
    return (colours * light[:, :, None]).clip(0, 255).astype(np.uint8)
