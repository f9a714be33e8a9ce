"""Ellipsoids, boxes and cylinders, covered with stuff and lit, seen from far away.

They live in a space with x to the side, y down, and z away from who looks at them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Vector = tuple[float, float, float]
Random = np.random.Generator
Kind = Literal["ball", "box", "tube"]

#: Makes a texture, uint8 [side, side, 3].
Texture = Callable[[int], Bytes]

#: In place of the number of a part.
NOTHING = 255

_TEXTURE_SIDE = 64

_EDGEWISE = 1e-4

# Of the light, how much comes from everywhere.
_AMBIENT = (0.35, 0.75)


@dataclass(frozen=True)
class Solid:
    """An ellipsoid, a box, or a cylinder about its own y axis.

    Attributes:
        kind: of these.
        middle: of it.
        half: its half lengths.
        part: number of the part that it belongs to; a part is of one stuff.
        turned: about its z and its x axis, radians.
    """

    kind: Kind
    middle: Vector
    half: Vector
    part: int
    turned: tuple[float, float] = (0.0, 0.0)

    def mirrored(self) -> "Solid":
        """Its counterpart on the other side of x = 0."""
        x, y, z = self.middle
        return replace(self, middle=(-x, y, z), turned=(-self.turned[0], self.turned[1]))


@dataclass(frozen=True, eq=False)
class View:
    """What solids look like.

    Attributes:
        pixels: uint8 [side, side, 4], RGB and opacity.
        parts: uint8 [side, side], number of the part that is seen, `NOTHING` where none is.
    """

    pixels: Bytes
    parts: Bytes


def render(solids: Sequence[Solid], view: Floats, random: Random, texture: Texture, side: int) -> View:
    """Solids seen from far away.

    Args:
        solids: at least one.
        view: rotation [3, 3] of all of them.
        random: for light and stuff.
        texture: makes the stuff.
        side: of the image.
    """
    corners = np.concatenate([_corners(solid) for solid in solids]) @ view.T
    low, high = corners[:, :2].min(0), corners[:, :2].max(0)
    reach = float((high - low).max()) * 0.52
    x0, y0 = (low + high) / 2
    steps = ((np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1) * reach
    rays = np.stack(np.broadcast_arrays(x0 + steps[None, :], (y0 + steps)[:, None]), -1)
    depth = np.full(side * side, np.inf, np.float32)
    colours = np.zeros((side * side, 3), np.float32)
    parts = np.full(side * side, NOTHING, np.uint8)
    stuff = {part: _stuff(random, texture) for part in sorted({solid.part for solid in solids})}
    light = random.normal((0, -1.0, -1.2), 1, 3)
    light /= np.linalg.norm(light)
    ambient = random.uniform(*_AMBIENT)
    for solid in solids:
        turned = view @ turn(solid.turned[0], 0.0, solid.turned[1])
        near = _near(solid, view, rays)
        met, far, place, normal = _hit(
            solid, rays.reshape(-1, 2)[near], turned, view @ np.array(solid.middle, np.float32)
        )
        seen = near[met]
        nearer = far < depth[seen]
        seen, place, normal = seen[nearer], place[nearer], normal[nearer]
        depth[seen] = far[nearer]
        parts[seen] = solid.part
        lit = ambient + (1 - ambient) * np.clip((normal @ turned.T) @ light, 0, 1)
        colours[seen] = stuff[solid.part](place * solid.half, normal) * lit[:, None]
    colours *= random.uniform(1.0, 1.35)
    opacity = ((parts != NOTHING) * np.uint8(255)).astype(np.uint8)
    pixels = np.column_stack((colours.clip(0, 255).astype(np.uint8), opacity)).reshape(side, side, 4)
    return View(pixels, parts.reshape(side, side))


def _near(solid: Solid, view: Floats, rays: Floats) -> NDArray[np.intp]:
    """Numbers of the rays [rows, columns, 2] that pass a solid's bounds."""
    corners = (_corners(solid) @ view.T)[:, :2]
    (left, top), (right, bottom) = corners.min(0), corners.max(0)
    columns = np.flatnonzero((rays[0, :, 0] > left) & (rays[0, :, 0] < right))
    rows = np.flatnonzero((rays[:, 0, 1] > top) & (rays[:, 0, 1] < bottom))
    near: NDArray[np.intp] = (rows[:, None] * rays.shape[1] + columns).ravel()
    return near


def _hit(solid: Solid, rays: Floats, turned: Floats, middle: Floats) -> tuple[NDArray[np.intp], Floats, Floats, Floats]:
    """Rays along z that meet a solid: their numbers, how far, where in half lengths, and the normal in its own axes."""
    half = np.array(solid.half, np.float32)
    start = (rays - middle[:2]) @ turned[:2] / half
    # No face is seen quite from its edge: that would divide by nothing.
    along = np.where(np.abs(turned[2]) < _EDGEWISE, _EDGEWISE, turned[2]) / half
    if solid.kind == "box":
        walls = (-1 - start) / along, (1 - start) / along
        enters, leaves = np.minimum(*walls).max(1), np.maximum(*walls).min(1)
        met = np.flatnonzero(enters < leaves)
        place = start[met] + enters[met, None] * along
        normal = place * (np.abs(place) > 0.999)
        return met, (enters[met] + middle[2]).astype(np.float32), place, _unit(normal)
    axes = [0, 1, 2] if solid.kind == "ball" else [0, 2]
    a = (along[axes] ** 2).sum()
    b = start[:, axes] @ along[axes]
    c = (start[:, axes] ** 2).sum(1) - 1
    inside = b * b - a * c
    root = np.sqrt(np.maximum(inside, 0))
    enters, leaves = (-b - root) / a, (-b + root) / a
    met = inside > 0
    if solid.kind == "tube":
        ends = (-1 - start[:, 1]) / along[1], (1 - start[:, 1]) / along[1]
        first = np.minimum(*ends)
        capped = first > enters
        enters, leaves = np.maximum(enters, first), np.minimum(leaves, np.maximum(*ends))
        met &= enters < leaves
    chosen = np.flatnonzero(met)
    place = start[chosen] + enters[chosen, None] * along
    normal = place / half
    if solid.kind == "tube":
        lid = capped[chosen]
        normal[:, 1] = np.where(lid, np.sign(place[:, 1]), 0)
        normal[lid] *= (0, 1, 0)
    return chosen, (enters[chosen] + middle[2]).astype(np.float32), place, _unit(normal)


def _stuff(random: Random, texture: Texture) -> Callable[[Floats, Floats], Floats]:
    """Colours [places, 3] of places on a solid, which carry a texture from the side that they face."""
    image = texture(_TEXTURE_SIDE).astype(np.float32)
    scale, shift = random.uniform(0.4, 1.6) * _TEXTURE_SIDE, random.uniform(0, _TEXTURE_SIDE, 2)

    def colours(place: Floats, normal: Floats) -> Floats:
        facing = np.abs(normal).argmax(1)
        across = np.where(facing == 0, place[:, 2], place[:, 0])
        down = np.where(facing == 1, place[:, 2], place[:, 1])
        # Mirrored at its edges, so that it has no seams.
        u, v = ((np.abs((each + _TEXTURE_SIDE) % (2 * _TEXTURE_SIDE) - _TEXTURE_SIDE)).astype(np.intp)
                for each in (across * scale + shift[0], down * scale + shift[1]))  # fmt: skip
        found: Floats = image[v.clip(0, _TEXTURE_SIDE - 1), u.clip(0, _TEXTURE_SIDE - 1)]
        return found

    return colours


def turn(about_z: float, about_y: float, about_x: float) -> Floats:
    """A rotation [3, 3]: about z first, about x last."""
    turned = np.eye(3)
    for axes, angle in (((0, 1), about_z), ((2, 0), about_y), ((1, 2), about_x)):
        step = np.eye(3)
        step[np.ix_(axes, axes)] = ((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle)))
        turned = step @ turned
    return turned.astype(np.float32)


def _corners(solid: Solid) -> Floats:
    signs = np.array(np.meshgrid((-1, 1), (-1, 1), (-1, 1))).reshape(3, -1).T
    corners = (signs * solid.half) @ turn(solid.turned[0], 0.0, solid.turned[1]).T + solid.middle
    return corners.astype(np.float32)


def _unit(vectors: Floats) -> Floats:
    unit: Floats = (vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9)).astype(np.float32)
    return unit
