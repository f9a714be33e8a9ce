"""Scenes to train on, rendered on the device that trains: views of photos, and photos with sprites in them.

What is random about a scene is drawn here as a spec, in few numbers; `Renderer` turns specs into pixels, many at
once. A canvas is square, with pixels (0, 0) to (side, side); places on it are also given as -1 to 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the usual name

from training.bank import Bank
from training.sources import SOURCES, SPRITES

Floats = NDArray[np.float64]

# Of the canvas: an object that shows less, or more, is not asked for. Nor is one that is mostly hidden.
_LEAST, _MOST = 0.004, 0.92
_VISIBLE = 0.35

# How often a scene is turned by 0, 90, 180 and 270 degrees.
_TURNS = (0.4, 0.2, 0.2, 0.2)

_LAYERS = 5
_COMPOSITES = 0.6
_FROM_PHOTOS = 1 - sum(SPRITES.values())

# How much more often thin objects are shown, and how thin these are: depth in roots of the area.
_THIN_MORE, _THIN = 2.0, 0.28

# Source pixels per canvas pixel from which the source is halved first.
_COARSE = 1.5


@dataclass(eq=False)
class Layer:
    """Something put onto a canvas.

    Attributes:
        sprite: its number, or -1 for an object cut out of a photo.
        mask: of that object, or -1.
        matrix: [2, 3], from places on the canvas, -1 to 1, to pixels of the source.
        gain, offset: of its colours.
        harmony: how far its mean colour moves to what it hides.
        shadow: how dark, 0 to 1, and how far it falls, in sides of the canvas.
        soft: its edge is blurred.
    """

    sprite: int
    mask: int
    matrix: Floats
    gain: float = 1.0
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    harmony: float = 0.0
    shadow: tuple[float, float, float] = (0.0, 0.0, 0.0)
    soft: bool = False


@dataclass(eq=False)
class SceneSpec:
    """A scene in numbers.

    Attributes:
        photo: in the background.
        matrix: of the background, as that of a layer.
        layers: in the order in which they are put on.
        target: the layer that is asked for; -1: masks of the background.
        meant, whole: for a layer: the label of the part that is meant, 0 for all of it (`whole` unused); for the
            background: numbers of masks.
        turns: quarters.
        trust, edges, first: weights in the loss: of the masks, of their outlines, of the answer "the whole".
    """

    photo: int
    matrix: Floats
    layers: list[Layer] = field(default_factory=list)
    target: int = -1
    meant: int = 0
    whole: int = 0
    turns: int = 0
    trust: float = 1.0
    edges: float = 1.0
    first: float = 1.0


class Scenes(NamedTuple):
    """Rendered scenes.

    Attributes:
        pixels: uint8 [scenes, 3, side, side].
        meant, whole: uint8 [scenes, side, side], opacity of what is asked for and of the whole object.
        weights: float32 [scenes, 3]: trust, 0 where too little or too much is to be seen; edges; first.
    """

    pixels: Tensor
    meant: Tensor
    whole: Tensor
    weights: Tensor


class SceneSampler:
    """Draws specs."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        names, counts = np.unique(bank.sources, return_counts=True)
        weight = {name: SOURCES[name].weight / count for name, count in zip(names, counts, strict=True)}
        #: Of the masks, 1 and more for thin ones.
        self._favour = 1 + (_THIN_MORE - 1) * _thin(bank.masks, bank.boxes, bank.areas)
        thin = np.zeros(len(bank.sizes))
        np.maximum.at(thin, bank.owners, self._favour - 1)
        chances = [weight[name] * (1 + more / 2) for name, more in zip(bank.sources, thin, strict=True)]
        self._photo_chances = _chances(chances)
        self._of_photo = [np.flatnonzero(bank.owners == photo) for photo in range(len(bank.sizes))]
        self._whole_of = np.full(len(bank.owners), -1)
        for whole, parts in enumerate(bank.parts):
            self._whole_of[parts[parts >= 0]] = whole
        names, counts = np.unique(bank.kinds, return_counts=True)
        each = {name: SPRITES[name] / count for name, count in zip(names, counts, strict=True)}
        extents = np.column_stack((np.zeros_like(bank.sprite_sizes), bank.sprite_sizes))
        more = 1 + (_THIN_MORE - 1) * _thin(bank.sprites[:, 3], extents, bank.sprite_areas)
        self._sprite_chances = _chances([each[name] * many for name, many in zip(bank.kinds, more, strict=True)])
        self._numbers_of_parts = bank.labels.reshape(len(bank.labels), -1).max(1)

    def draw(self, random: np.random.Generator, side: int) -> SceneSpec:
        """A spec for a canvas of side × side pixels."""
        bank = self._bank
        photo = self._photo(random)
        mask = self._thing(photo, random)
        matrix = self._view(photo, mask, random)
        source = SOURCES[str(bank.sources[photo])]
        spec = SceneSpec(photo, matrix, turns=int(random.choice(4, p=_TURNS)))
        if random.random() < _COMPOSITES:
            asked = self._put_on(spec, random, side)
            if random.random() > 0.22 or not bank.wholes[mask]:
                spec.target = asked[random.integers(len(asked))]
                layer = spec.layers[spec.target]
                if layer.sprite >= 0:
                    parts = self._numbers_of_parts[layer.sprite]
                    if parts > 1 and random.random() < 0.3:
                        spec.meant = int(random.integers(1, parts + 1))
                else:
                    spec.edges = 0.0
                return spec
        spec.whole = spec.meant = int(mask)
        parts = bank.parts[mask][bank.parts[mask] >= 0]
        if not bank.wholes[mask] and self._whole_of[mask] >= 0:
            spec.whole = int(self._whole_of[mask])
        elif len(parts) and random.random() < 0.4:
            spec.meant = int(parts[random.integers(len(parts))])
        spec.trust, spec.edges = source.trust, float(source.edges)
        spec.first = 1.0 if source.wholes else 0.3
        return spec

    def _photo(self, random: np.random.Generator) -> int:
        return int(np.searchsorted(self._photo_chances, random.random()))

    def _thing(self, photo: int, random: np.random.Generator) -> int:
        """A mask of a photo; large ones and wholes more often."""
        masks = self._of_photo[photo]
        areas = self._bank.areas[masks] ** random.choice((0.0, 0.5, 1.0)) * self._favour[masks]
        mask = int(masks[np.searchsorted(np.cumsum(areas / areas.sum()), random.random())])
        if not self._bank.wholes[mask] and random.random() < 0.6:
            wholes = masks[self._bank.wholes[masks]]
            return int(wholes[random.integers(len(wholes))]) if len(wholes) else mask
        return mask

    def _view(self, photo: int, mask: int, random: np.random.Generator) -> Floats:
        """A view of the photo in which the mask is to be seen."""
        columns, rows = (float(value) for value in self._bank.sizes[photo])
        stretch = float(np.exp(random.uniform(-0.22, 0.22)))
        if random.random() < 0.5:
            width, height = columns, rows
        else:
            share = float(np.exp(random.uniform(np.log(0.06), np.log(0.7))))
            size = max((float(self._bank.areas[mask]) / share) ** 0.5, 48.0)
            width, height = size * stretch, size / stretch
        width, height = min(width, 1.3 * height * stretch, columns), min(height, 1.3 * width / stretch, rows)
        x, y, thing_width, thing_height = (float(value) for value in self._bank.boxes[mask])
        middle = np.array((x + thing_width / 2, y + thing_height / 2)) + random.normal(0, 0.15, 2) * (width, height)
        x0 = float(np.clip(middle[0] - width / 2, 0, columns - width))
        y0 = float(np.clip(middle[1] - height / 2, 0, rows - height))
        angle = float(random.normal(0, 0.2)) if random.random() < 0.3 else 0.0
        flip = -1.0 if random.random() < 0.5 else 1.0
        linear = _turn(angle) @ np.diag((flip * width / 2, height / 2))
        return np.column_stack((linear, (x0 + width / 2, y0 + height / 2)))

    def _put_on(self, spec: SceneSpec, random: np.random.Generator, side: int) -> list[int]:
        """Add layers; those that can be asked for."""
        asked: list[int] = []
        for _ in range(int(random.choice((1, 2, 3), p=(0.5, 0.3, 0.2)))):
            share = float(np.exp(random.uniform(np.log(0.03), np.log(0.6))))
            place = random.uniform(0.12, 0.88, 2)
            first = self._layer(random, share, place, side)
            copies = int(random.integers(1, 4)) if random.random() < 0.3 else 0
            for _ in range(copies):
                # What is alike need not be one: the same again, beside it or elsewhere.
                beside = place + random.normal(0, 0.7, 2) * share**0.5
                there = beside if random.random() < 0.5 else random.uniform(0, 1, 2)
                spec.layers.append(self._layer(random, share * random.uniform(0.6, 1.2), there, side, first))
            asked.append(len(spec.layers))
            spec.layers.append(first)
        if len(spec.layers) > _LAYERS:
            left = len(spec.layers) - _LAYERS
            spec.layers, asked = spec.layers[left:], [index - left for index in asked if index >= left]
        return asked

    def _layer(
        self, random: np.random.Generator, share: float, place: Floats, side: int, like: Layer | None = None
    ) -> Layer:
        """A sprite that covers that share of the canvas, its middle at a place given in sides."""
        bank = self._bank
        if like is not None:
            sprite, mask = like.sprite, like.mask
        elif random.random() < _FROM_PHOTOS or not len(bank.kinds):
            sprite, mask = -1, self._thing(self._photo(random), random)
        else:
            sprite, mask = int(np.searchsorted(self._sprite_chances, random.random())), -1
        if sprite >= 0:
            middle, area = bank.sprite_sizes[sprite] / 2, float(bank.sprite_areas[sprite])
        else:
            x, y, width, height = bank.boxes[mask]
            middle, area = np.array((x + width / 2, y + height / 2)), float(bank.areas[mask])
        scale = side * (share / max(area, 50.0)) ** 0.5
        if sprite < 0:
            # Not much beyond its own resolution.
            scale = min(scale, 2.5 * side / 512)
        stretch = float(np.exp(random.uniform(-0.2, 0.2)))
        kind = random.random()
        angle = 0.0 if kind < 0.5 else float(random.normal(0, 0.4)) if kind < 0.85 else float(random.uniform(-3.1, 3.1))
        flip = -1.0 if random.random() < 0.5 else 1.0
        back = np.linalg.inv(_turn(angle) @ np.diag((flip * scale * stretch, scale / stretch)))
        matrix = np.column_stack((back * (side / 2), middle + back @ (side / 2 - place * side)))
        layer = Layer(sprite, mask, matrix)
        if random.random() < 0.35:
            layer.harmony = float(random.uniform(0.3, 1.0))
        if random.random() < 0.35:
            layer.gain = float(random.uniform(0.55, 1.3))
            layer.offset = tuple(random.normal(0, 0.05, 3).tolist())
        if random.random() < 0.3:
            layer.shadow = (float(random.uniform(0.2, 0.7)), *random.normal(0, 0.04, 2).tolist())
        layer.soft = bool(random.random() < 0.35)
        return layer


class Renderer:
    """Renders specs on a device.

    Args:
        bank: what they are made of.
        device: that keeps it and renders.
    """

    def __init__(self, bank: Bank, device: torch.device) -> None:
        self._bank, self._device = bank, device
        self._photos, self._masks, self._sprites, self._labels = (
            torch.from_numpy(each).to(device) for each in (bank.photos, bank.masks, bank.sprites, bank.labels)
        )
        self._sizes = torch.from_numpy(bank.sizes.astype(np.float32)).to(device)
        self._dct = _dct().to(device)

    @torch.no_grad()
    def render(self, specs: Sequence[SceneSpec], side: int, random: np.random.Generator) -> Scenes:
        """Scenes of side × side pixels, a multiple of 8."""
        photos = np.array([spec.photo for spec in specs])
        canvas = self._background(photos, np.stack([spec.matrix for spec in specs]), side)
        canvas = self._surroundings(canvas, random)
        meant, whole = canvas.new_zeros(2, len(specs), side, side)
        below = [index for index, spec in enumerate(specs) if spec.target < 0]
        if below:
            matrices = np.stack([specs[index].matrix for index in below])
            for truth, masks in (
                (meant, [specs[index].meant for index in below]),
                (whole, [specs[index].whole for index in below]),
            ):
                truth[self._index(below)] = self._background_masks(np.array(masks), matrices, side)
        full = whole.mean((1, 2))
        for level in range(_LAYERS):
            at = [index for index, spec in enumerate(specs) if len(spec.layers) > level]
            for made_of_photos in (False, True):
                mine = [index for index in at if (specs[index].layers[level].sprite < 0) == made_of_photos]
                if mine:
                    self._put(canvas, meant, whole, specs, mine, level)
            now = [index for index in at if specs[index].target == level]
            if now:
                index = self._index(now)
                full[index] = whole[index].mean((1, 2))
        area = whole.mean((1, 2))
        seen = (area > _VISIBLE * full) & (area > _LEAST) & (area < _MOST) & (meant.mean((1, 2)) > _LEAST / 2)
        weights = self._tensor(np.array([(r.trust, r.edges, r.first) for r in specs]))
        weights[:, 0] *= seen
        canvas = self._photographed(canvas, random)
        for quarters in (1, 2, 3):
            turned = [index for index, spec in enumerate(specs) if spec.turns == quarters]
            if turned:
                index = self._index(turned)
                canvas[index] = canvas[index].rot90(quarters, (2, 3))
                meant[index] = meant[index].rot90(quarters, (1, 2))
                whole[index] = whole[index].rot90(quarters, (1, 2))
        pixels, meant, whole = ((each * 255 + 0.5).clamp(0, 255).to(torch.uint8) for each in (canvas, meant, whole))
        return Scenes(pixels, meant, whole, weights)

    def _tensor(self, array: ArrayLike) -> Tensor:
        return upload(np.asarray(array, np.float32), self._device)

    def _index(self, numbers: ArrayLike) -> Tensor:
        return upload(np.asarray(numbers, np.int64), self._device)

    def _grid(self, photos: NDArray[np.generic], matrices: Floats, side: int) -> Tensor:
        """Pixels of the photos [scenes, side, side, 2], reflected at their borders."""
        grid = _places(self._tensor(matrices), side).abs()
        sizes = self._sizes[self._index(photos)][:, None, None]
        grid = sizes - (sizes - grid).abs()
        return torch.minimum(grid.clamp_min(0.5), sizes - 0.5)

    def _background(self, photos: NDArray[np.generic], matrices: Floats, side: int) -> Tensor:
        return _read(self._photos[self._index(photos)], self._grid(photos, matrices, side))

    def _background_masks(self, masks: NDArray[np.generic], matrices: Floats, side: int) -> Tensor:
        grid = self._grid(self._bank.owners[masks], matrices, side)
        return _read(self._masks[self._index(masks)][:, None], grid)[:, 0]

    def _surroundings(self, canvas: Tensor, random: np.random.Generator) -> Tensor:
        """Now and then backgrounds out of focus."""
        side = canvas.shape[-1]
        blurred = np.flatnonzero(random.random(len(canvas)) < 0.06)
        if len(blurred):
            share = int(random.choice((4, 6, 10, 16)))
            small = F.avg_pool2d(canvas[self._index(blurred)], share, ceil_mode=True)
            canvas[self._index(blurred)] = F.interpolate(small, (side, side), mode="bilinear")
        return canvas

    def _put(
        self, canvas: Tensor, meant: Tensor, whole: Tensor, specs: Sequence[SceneSpec], at: list[int], level: int
    ) -> None:
        """Put a layer onto the canvases, and make it, or take it from, what is asked for."""
        side = canvas.shape[-1]
        layers = [specs[index].layers[level] for index in at]
        numbers = [
            (index, layer.sprite, layer.mask, self._bank.owners[layer.mask])
            for index, layer in zip(at, layers, strict=True)
        ]
        index, sprites, masks, photos = self._index(numbers).unbind(1)
        asked = [(specs[each].target == level, specs[each].meant) for each in at]
        values = self._tensor(
            [
                (*layer.matrix.ravel(), layer.soft, layer.gain, layer.harmony, *layer.offset, *layer.shadow, mine,
                 part if mine else 0, _scale(layer.matrix, side) > _COARSE)
                for layer, (mine, part) in zip(layers, asked, strict=True)
            ]
        )  # fmt: skip
        matrices, offset, shadow = values[:, :6].reshape(-1, 2, 3), values[:, 9:12, None, None], values[:, 12:15]
        soft, gain, harmony, mine, part, coarse = (
            values[:, column, None, None, None] for column in (6, 7, 8, 15, 16, 17)
        )
        grid = _places(matrices, side)
        if layers[0].sprite >= 0:
            source = self._sprites[sprites].float() / 255
        else:
            opacity = self._masks[masks][:, None].float() / 255
            # Outlines are off by a pixel or so and carry the colours of where the object was.
            opacity = -F.max_pool2d(-opacity, 3, 1, 1)
            source = torch.cat([self._photos[photos].float() / 255, opacity], 1)
        premultiplied = torch.cat([source[:, :3] * source[:, 3:], source[:, 3:]], 1)
        # What shrinks is smoothed first.
        premultiplied = premultiplied.lerp(F.avg_pool2d(premultiplied, 3, 1, 1), coarse)
        shown = _read(premultiplied, grid, "zeros")
        shown = shown.lerp(F.avg_pool2d(shown, 3, 1, 1), soft)
        colours, opacity = shown[:, :3], shown[:, 3:]
        under = canvas[index]
        if any(layer.shadow[0] for layer in layers):
            under = under * (1 - self._shadows(opacity, shadow))
        total = opacity.sum((2, 3), keepdim=True).clamp_min(1.0)
        own = colours.sum((2, 3), keepdim=True) / total
        hidden = (under * opacity).sum((2, 3), keepdim=True) / total
        colours = (colours * gain + ((hidden - own) * harmony + offset) * opacity).clamp(0, 1)
        canvas[index] = under * (1 - opacity) + colours
        shape, opacity, mine = opacity[:, 0], opacity[:, 0], mine[:, 0]
        if layers[0].sprite >= 0 and any(wanted and label for wanted, label in asked):
            inside = ((self._labels[sprites][:, None] == part) | (part == 0)).float()
            shape = opacity * _read(inside, grid, "border")[:, 0]
        # What is put on hides what is asked for, unless it is that.
        meant[index] = meant[index] * (1 - opacity) + shape * mine
        whole[index] = whole[index] * (1 - opacity) + opacity * mine

    def _shadows(self, opacity: Tensor, shadows: Tensor) -> Tensor:
        side = opacity.shape[-1]
        small = F.avg_pool2d(opacity, 8)
        small = F.avg_pool2d(F.avg_pool2d(small, 5, 1, 2), 5, 1, 2)
        theta = torch.zeros(len(shadows), 2, 3, device=opacity.device)
        theta[:, 0, 0] = theta[:, 1, 1] = 1
        theta[:, :, 2] = -2 * shadows[:, 1:]
        grid = F.affine_grid(theta, [len(shadows), 1, side, side], align_corners=False)
        return F.grid_sample(small, grid, align_corners=False) * shadows[:, :1, None, None]

    def _photographed(self, canvas: Tensor, random: np.random.Generator) -> Tensor:
        """Another exposure, colour, sharpness, noise or compression."""
        count, side = len(canvas), canvas.shape[-1]

        def now_and_then(chance: float) -> NDArray[np.bool_]:
            return random.random(count) < chance

        changed = now_and_then(0.7)[:, None]
        gain = np.exp(random.normal(0, 0.15, (count, 1)) + random.normal(0, 0.06, (count, 3))) * changed + ~changed
        gamma = np.exp(random.normal(0, 0.2, (count, 1))) * changed + ~changed
        offset = random.normal(0, 0.04, (count, 1)) * changed
        keep = np.where(random.random(count) < 0.4, 0.0, random.uniform(0.3, 1.6, count))
        keep = np.where(now_and_then(0.28), keep, 1.0)
        # As X-rays and other negatives show things.
        sign = np.where(now_and_then(0.02), -1.0, 1.0)
        gain, gamma, offset, keep, sign = (
            self._tensor(each.reshape(count, -1))[:, :, None, None] for each in (gain, gamma, offset, keep, sign)
        )
        canvas = canvas.clamp(1e-4, 1) ** gamma * gain + offset
        gray = canvas.mean(1, keepdim=True)
        canvas = ((gray + (canvas - gray) * keep - 0.5) * sign + 0.5).clamp(0, 1)
        for chance, share in ((0.12, 2), (0.05, 3)):
            small = np.flatnonzero(now_and_then(chance))
            if len(small):
                index = self._index(small)
                less = F.interpolate(canvas[index], (side // share, side // share), mode="area")
                canvas[index] = F.interpolate(less, (side, side), mode="bilinear")
        blurred = np.flatnonzero(now_and_then(0.1))
        if len(blurred):
            index = self._index(blurred)
            canvas[index] = F.avg_pool2d(F.avg_pool2d(canvas[index], 3, 1, 1, count_include_pad=False), 3, 1, 1,
                                         count_include_pad=False)  # fmt: skip
        noise = np.flatnonzero(now_and_then(0.2))
        if len(noise):
            index = self._index(noise)
            strength = self._tensor(random.uniform(2, 20, len(noise)) / 255)[:, None, None, None]
            canvas[index] += torch.randn(len(noise), 1, side, side, device=canvas.device) * strength
        coded = np.flatnonzero(now_and_then(0.2))
        if len(coded):
            index = self._index(coded)
            strength = self._tensor(np.exp(random.uniform(np.log(0.02), np.log(0.15), len(coded))))
            canvas[index] = self._compressed(canvas[index], strength)
        return canvas.clamp(0, 1)

    def _compressed(self, canvas: Tensor, strength: Tensor) -> Tensor:
        """As a JPEG of low quality: coefficients of blocks of 8 × 8 in steps that grow with frequency."""
        count, _, side, _ = canvas.shape
        red, green, blue = canvas.unbind(1)
        luma = 0.3 * red + 0.6 * green + 0.1 * blue
        planes = torch.stack([luma, blue - luma, red - luma], 1).reshape(-1, 1, side, side)
        # Not a convolution: cuDNN would look for the fastest one anew at every count.
        blocks = (
            planes.reshape(count, 3, side // 8, 8, side // 8, 8).permute(0, 1, 3, 5, 2, 4).reshape(count, 3, 64, -1)
        )
        basis = self._dct.reshape(64, 64)
        coefficients = (basis @ blocks).reshape(count, 3, 64, side // 8, side // 8)
        frequency = torch.arange(8.0, device=canvas.device)
        steps = (1 + (frequency[:, None] + frequency)).reshape(1, 1, 64, 1, 1) * strength[:, None, None, None, None]
        steps = torch.cat([steps, 2 * steps, 2 * steps], 1)
        coefficients = (coefficients / steps).round() * steps
        blocks = (basis.T @ coefficients.flatten(3)).reshape(count, 3, 8, 8, side // 8, side // 8)
        planes = blocks.permute(0, 1, 4, 2, 5, 3).reshape(count, 3, side, side)
        luma, blue, red = planes[:, 0], planes[:, 1] + planes[:, 0], planes[:, 2] + planes[:, 0]
        return torch.stack([red, (luma - 0.3 * red - 0.1 * blue) / 0.6, blue], 1)


def upload(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """The array on a device; the host does not wait for it."""
    found = torch.from_numpy(np.ascontiguousarray(array))
    return found.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else found


def _thin(masks: NDArray[np.uint8], boxes: NDArray[np.int64], areas: NDArray[np.int64]) -> Floats:
    """Whether masks [n, side, side] within their boxes are thin, 0 or 1."""
    found = np.zeros(len(masks))
    for number, (mask, (x, y, width, height)) in enumerate(zip(masks, boxes.tolist(), strict=True)):
        region = np.pad((mask[y : y + height, x : x + width] > 127).astype(np.uint8), 1)
        found[number] = cv2.distanceTransform(region, cv2.DIST_L2, 3).max() < _THIN * areas[number] ** 0.5
    return found


def _chances(weights: Sequence[float]) -> Floats:
    total = np.cumsum(np.asarray(weights, np.float64))
    return total / total[-1] if len(total) else total


def _turn(angle: float) -> Floats:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array(((cosine, -sine), (sine, cosine)))


def _scale(matrix: Floats, side: int) -> float:
    """Source pixels per canvas pixel."""
    return float(abs(np.linalg.det(matrix[:, :2])) ** 0.5 * 2 / side)


def _places(matrices: Tensor, side: int) -> Tensor:
    """Pixels of the sources [n, side, side, 2] under the pixels of a canvas."""
    line = (torch.arange(side, device=matrices.device, dtype=torch.float32) + 0.5) * (2 / side) - 1
    ones = torch.ones(side, side, device=matrices.device)
    canvas = torch.stack([line.expand(side, side), line[:, None].expand(side, side), ones], 2).reshape(1, -1, 3)
    return (canvas @ matrices.transpose(1, 2)).reshape(-1, side, side, 2)


def _read(source: Tensor, grid: Tensor, beyond: str = "border") -> Tensor:
    """Values 0 to 1 of sources [n, channels, h, w], bytes or floats, at pixels [n, rows, columns, 2]."""
    values = source.float() / 255 if source.dtype == torch.uint8 else source
    # Sources are square.
    return F.grid_sample(values, grid * (2 / source.shape[3]) - 1, padding_mode=beyond, align_corners=False)


def _dct() -> Tensor:
    """Orthonormal cosines [64, 1, 8, 8]."""
    index = torch.arange(8.0)
    basis = torch.cos((2 * index[None] + 1) * index[:, None] * torch.pi / 16) / 2
    basis[0] /= 2**0.5
    return (basis[:, None, :, None] * basis[None, :, None, :]).reshape(64, 1, 8, 8)
