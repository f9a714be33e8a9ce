"""Images to learn from, with what is masked in them: photos as they are, and photos with sprites put in."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data import Library, Photo, Thing
from training.geometry import view, warp
from training.looks import harmonise, photograph
from training.sprites import Sprite, Sprites

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

# Of the canvas: a target that shows less is not asked for.
_LEAST = 0.004
_MOST = 0.92

# How often a scene is turned by 0, 90, 180 and 270 degrees: most images stand upright, few clicks care.
_TURNS = (0.64, 0.14, 0.08, 0.14)


@dataclass(frozen=True, eq=False)
class Target:
    """Something that can be asked for.

    Attributes:
        whole: uint8 [side, side], 0 or 1.
        parts: of the whole, likewise.
    """

    whole: Bytes
    parts: tuple[Bytes, ...] = ()


@dataclass(frozen=True, eq=False)
class Scene:
    """An image and what can be asked for in it.

    Attributes:
        pixels: uint8 [side, side, 3], RGB.
        targets: at least one.
    """

    pixels: Bytes
    targets: tuple[Target, ...]


class Scenes:
    """Makes scenes at random.

    Args:
        library: what they are made of.
        composites: share of images that sprites are put into.
    """

    def __init__(self, library: Library, composites: float = 0.5) -> None:
        self._sprites = Sprites(library)
        self._composites = composites

    def draw(self, random: np.random.Generator, side: int) -> Scene:
        """A scene of side × side pixels."""
        while True:
            composed = random.random() < self._composites
            pixels, targets = (self._composed if composed else self._photographed)(random, side)
            share = [float(target.whole.mean()) for target in targets]
            shown = [target for target, area in zip(targets, share, strict=True) if _LEAST < area < _MOST]
            if shown:
                return _turned(Scene(photograph(pixels, random), tuple(shown)), random.choice(4, p=_TURNS))

    def _photographed(self, random: np.random.Generator, side: int) -> tuple[Bytes, list[Target]]:
        photo = self._sprites.photo(random)
        thing = photo.things[random.integers(len(photo.things))]
        if not thing.whole and random.random() < 0.7:
            thing = max(photo.things, key=lambda each: each.area)
        matrix = _look_at(photo, thing, random, side)
        targets = [_target(photo, thing, matrix, side)]
        others = [each for each in photo.things if each is not thing and each.whole]
        if others and random.random() < 0.5:
            targets.append(_target(photo, others[random.integers(len(others))], matrix, side))
        return warp(photo.pixels, matrix, side, reflect=True), targets

    def _composed(self, random: np.random.Generator, side: int) -> tuple[Bytes, list[Target]]:
        canvas, targets = self._background(random, side)
        for _ in range(random.choice((1, 2, 3, 4), p=(0.4, 0.3, 0.2, 0.1))):
            share = float(np.exp(random.uniform(np.log(0.03), np.log(0.6))))
            place = random.uniform(0.1, 0.9, 2)
            group = 1 if random.random() < 0.94 else int(random.integers(2, 4))
            sprites = [self._sprites.draw(random) for _ in range(group)]
            if random.random() < 0.35:
                # The like of it, beside it or elsewhere: what is alike need not be one.
                for _ in range(random.integers(1, 4)):
                    beside = place + random.normal(0, 0.7, 2) * share**0.5
                    there = beside if random.random() < 0.5 else random.uniform(0, 1, 2)
                    matrix = _put(sprites[0], share * random.uniform(0.6, 1.2), there, random, side)
                    canvas, shape, _ = _paste(canvas, sprites[0], matrix, random)
                    targets = _covered(targets, shape)
            shapes: list[Bytes] = []
            parts: list[Bytes] = []
            for sprite in sprites:
                near = place + random.uniform(-0.5, 0.5, 2) * share**0.5 * (len(shapes) > 0)
                matrix = _put(sprite, share / group**0.5, near, random, side)
                canvas, shape, inner = _paste(canvas, sprite, matrix, random)
                targets = _covered(targets, shape)
                shapes = [each & ~shape for each in shapes]
                parts = [each & ~shape for each in parts] + list(inner)
                shapes.append(shape)
            whole = np.maximum.reduce(shapes)
            targets.append(Target(whole, tuple(parts if group == 1 else parts + shapes)))
        return canvas, targets

    def _background(self, random: np.random.Generator, side: int) -> tuple[Bytes, list[Target]]:
        if random.random() < 0.12:
            return self._sprites.texture(random, side), []
        photo = self._sprites.photo(random)
        thing = photo.things[random.integers(len(photo.things))]
        matrix = _look_at(photo, thing, random, side)
        canvas = warp(photo.pixels, matrix, side, reflect=True)
        if random.random() < 0.2:
            canvas = cv2.GaussianBlur(canvas, (0, 0), side * random.uniform(0.005, 0.03)).astype(np.uint8, copy=False)
        targets = [_target(photo, thing, matrix, side)] if thing.whole and random.random() < 0.4 else []
        return canvas, targets


def _turned(scene: Scene, quarters: int) -> Scene:
    def turn(pixels: Bytes) -> Bytes:
        return np.ascontiguousarray(np.rot90(pixels, quarters))

    targets = [Target(turn(target.whole), tuple(map(turn, target.parts))) for target in scene.targets]
    return Scene(turn(scene.pixels), tuple(targets))


def _look_at(photo: Photo, thing: Thing, random: np.random.Generator, side: int) -> Floats:
    """A view of the photo in which the thing is to be seen."""
    rows, columns = photo.pixels.shape[:2]
    stretch = float(np.exp(random.uniform(-0.25, 0.25)))
    if random.random() < 0.5:
        width, height = float(columns), float(rows)
    else:
        share = float(np.exp(random.uniform(np.log(0.06), np.log(0.7))))
        width = height = max((thing.area / share) ** 0.5, 40.0)
        width, height = width * stretch, height / stretch
    # Not more out of shape than a quarter, and no wider than the photo.
    width, height = min(width, 1.3 * height * stretch, columns), min(height, 1.3 * width / stretch, rows)
    x, y, thing_width, thing_height = thing.box
    middle = np.array((x + thing_width / 2, y + thing_height / 2)) + random.normal(0, 0.15, 2) * (width, height)
    x0 = float(np.clip(middle[0] - width / 2, 0, columns - width))
    y0 = float(np.clip(middle[1] - height / 2, 0, rows - height))
    angle = float(random.normal(0, 0.2)) if random.random() < 0.3 else 0.0
    return view((x0, y0, x0 + width, y0 + height), side, angle, bool(random.random() < 0.5))


def _target(photo: Photo, thing: Thing, matrix: Floats, side: int) -> Target:
    parts = [photo.things[index] for index in thing.parts][:6]
    shown = [_solid(warp(part.mask() * np.uint8(255), matrix, side)) for part in parts]
    return Target(_solid(warp(thing.mask() * np.uint8(255), matrix, side)), tuple(shown))


def _put(sprite: Sprite, share: float, place: NDArray[np.float64], random: np.random.Generator, side: int) -> Floats:
    """Where a sprite goes so that it covers that share of the canvas, its middle at a place given in sides."""
    rows, columns = sprite.pixels.shape[:2]
    filled = max(float((sprite.pixels[::4, ::4, 3] > 127).mean()), 0.05)
    scale = side * (share / (filled * rows * columns)) ** 0.5
    stretch = float(np.exp(random.uniform(-0.2, 0.2)))
    turn = random.random()
    angle = 0.0 if turn < 0.5 else float(random.normal(0, 0.4)) if turn < 0.85 else float(random.uniform(-3.1, 3.1))
    cosine, sine = np.cos(angle), np.sin(angle)
    flip = -1.0 if random.random() < 0.5 else 1.0
    linear = np.array(((cosine, -sine), (sine, cosine))) @ np.diag((flip * scale * stretch, scale / stretch))
    return np.column_stack((linear, place * side - linear @ (columns / 2, rows / 2)))


def _paste(
    canvas: Bytes, sprite: Sprite, matrix: Floats, random: np.random.Generator
) -> tuple[Bytes, Bytes, Sequence[Bytes]]:
    """The canvas with the sprite on it, and what it covers, and its parts there."""
    side = len(canvas)
    warped = warp(sprite.pixels, matrix, side)
    opacity = warped[:, :, 3]
    shape = _solid(opacity)
    if random.random() < 0.4:
        opacity = cv2.GaussianBlur(opacity, (0, 0), random.uniform(0.3, 1.2)).astype(np.uint8, copy=False)
    under = canvas
    if random.random() < 0.3:
        under = _shadowed(under, opacity, random)
    colours = harmonise(warped[:, :, :3], opacity, under, random)
    weight = opacity[:, :, None].astype(np.float32) / 255
    mixed = under + (colours - under.astype(np.float32)) * weight
    parts = [_solid(warp(part * np.uint8(255), matrix, side)) & shape for part in sprite.parts]
    return mixed.astype(np.uint8), shape, parts


def _shadowed(canvas: Bytes, opacity: Bytes, random: np.random.Generator) -> Bytes:
    side = len(canvas)
    shift = np.array(((1, 0, random.normal(0, 0.04) * side), (0, 1, random.uniform(0, 0.06) * side)))
    shadow = cv2.warpAffine(opacity, shift, (side, side))
    shadow = cv2.GaussianBlur(shadow, (0, 0), side * random.uniform(0.01, 0.05)).astype(np.float32)
    return (canvas * (1 - shadow * random.uniform(0.2, 0.7) / 255)[:, :, None]).astype(np.uint8)


def _covered(targets: Sequence[Target], shape: Bytes) -> list[Target]:
    """What is left to be seen; what is mostly hidden is not asked for."""
    left = []
    for target in targets:
        whole = target.whole & ~shape
        if whole.sum() > 0.4 * target.whole.sum():
            left.append(Target(whole, tuple(part & ~shape for part in target.parts)))
    return left


def _solid(opacity: Bytes) -> Bytes:
    return (opacity > 127).astype(np.uint8)
