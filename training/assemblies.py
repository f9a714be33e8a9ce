"""Objects put together at random: bodies, limbs, wheels, wings and boards of different materials.

Photos show things as assemblies of round and flat solids whose parts differ in colour and hide each other; a cut-out
has no such depth. An assembly is about one unit long in every direction, and stands upright with its front at -z.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from training.solids import Kind, Random, Solid, Texture, View, render, turn

_KINDS: tuple[Kind, ...] = ("ball", "box", "tube")


def draw(random: Random, texture: Texture, side: int = 128) -> View:
    """An assembly of a random kind, seen from a random direction."""
    solids = _ASSEMBLIES[random.integers(len(_ASSEMBLIES))](random)
    around = float(random.uniform(-np.pi, np.pi))
    above = float(np.clip(random.normal(0.25, 0.3), -0.5, 1.4))
    return render(solids, turn(0.0, around, above), random, texture, side)


def _both(solids: Sequence[Solid]) -> list[Solid]:
    return [*solids, *(solid.mirrored() for solid in solids)]


def _beast(random: Random) -> list[Solid]:
    """A trunk along z on four legs, with neck, head, and what else grows on beasts."""
    u = random.uniform
    long, thick, leg = u(0.5, 0.9), u(0.18, 0.4), u(0.15, 0.9)
    coats = [0, 0, int(random.integers(0, 3))]
    solids = [Solid("ball", (0, 0, 0), (thick * u(0.7, 1), thick, long), 0)]
    if random.random() < 0.4:
        solids.append(
            Solid("ball", (0, -0.02, u(-0.3, 0.3) * long), (thick * 0.9, thick * 1.02, long * u(0.2, 0.5)), 1)
        )
    girth = thick * u(0.15, 0.4)
    for z in (-0.65 * long, 0.65 * long):
        lean = random.normal(0, 0.25)
        foot = Solid(
            "tube", (thick * 0.6, thick * 0.5 + leg / 2, z), (girth, leg / 2 + thick * 0.4, girth), coats[2], (0, lean)
        )
        solids += _both([foot])
    rise, reach = u(-0.1, 0.8), u(0.1, 0.4)
    neck = (0.0, -rise / 2 - thick * 0.3, -long - reach / 2 + 0.12)
    tilt = float(np.arctan2(reach, rise + thick))
    solids.append(Solid("tube", neck, (thick * 0.45, (rise + thick) / 2, thick * 0.5), 0, (0, -tilt)))
    head = (0.0, -rise - thick * 0.6, -long - reach)
    skull = thick * u(0.5, 1.0)
    solids.append(Solid("ball", head, (skull * 0.8, skull * 0.8, skull * u(0.9, 1.6)), coats[1]))
    snout = (head[0], head[1] + skull * 0.2, head[2] - skull * 1.1)
    solids.append(Solid("ball", snout, (skull * 0.4, skull * 0.35, skull * 0.6), int(random.integers(0, 4))))
    if random.random() < 0.7:
        ear = Solid(
            "ball", (skull * 0.6, head[1] - skull * 0.7, head[2]), (skull * 0.25, skull * u(0.3, 0.9), skull * 0.12), 3
        )
        solids += _both([replace(ear, turned=(u(-0.6, 0.6), 0.0))])
    if random.random() < 0.8:
        tail = u(0.15, 0.5)
        solids.append(
            Solid("tube", (0, u(-0.3, 0.2), long + tail * 0.6), (girth * 0.6, tail, girth * 0.6), 2, (0, u(0.6, 2)))
        )
    return solids


def _figure(random: Random) -> list[Solid]:
    """Upright: head, trunk, arms and legs in different clothes."""
    u = random.uniform
    wide, deep = u(0.2, 0.32), u(0.12, 0.2)
    solids = [
        Solid("tube", (0, 0, 0), (wide, 0.36, deep), 0),
        Solid("ball", (0, -0.56, 0), (0.14, 0.18, 0.16), 1),
        Solid("ball", (0, -0.62, 0.02), (0.155, u(0.14, 0.3), 0.17), 2),
        Solid("tube", (0, -0.4, 0), (0.07, 0.1, 0.07), 1),
    ]
    spread = u(0.05, 1.4)
    arm = Solid(
        "tube", (wide + 0.3 * np.sin(spread), -0.3 + 0.3 * np.cos(spread), 0), (0.07, 0.3, 0.08), 0, (-spread, 0.0)
    )
    hand = Solid("ball", (wide + 0.62 * np.sin(spread), -0.3 + 0.62 * np.cos(spread), 0), (0.07, 0.08, 0.07), 1)
    solids += _both([arm, hand])
    if random.random() < 0.3:
        solids.append(Solid("tube", (0, 0.6, 0), (wide * u(1, 1.6), u(0.25, 0.5), deep * 1.4), 3))
    stride = u(0.0, 0.5)
    for side, swing in ((1, stride), (-1, -stride)):
        x = side * wide * 0.5
        middle = (x, 0.36 + 0.36 * float(np.cos(swing)), 0.36 * float(np.sin(swing)))
        solids.append(Solid("tube", middle, (0.1, 0.38, 0.11), 3, (0, swing)))
        foot = (x, 0.4 + 0.74 * float(np.cos(swing)), 0.74 * float(np.sin(swing)) - 0.06)
        solids.append(Solid("ball", foot, (0.09, 0.07, 0.18), 4))
    return solids


def _vehicle(random: Random) -> list[Solid]:
    """A body with a cabin, windows, wheels and lamps."""
    u = random.uniform
    wide, high, long = u(0.25, 0.45), u(0.12, 0.45), u(0.5, 1.0)
    hull: Kind = "ball" if random.random() < 0.2 else "box"
    solids = [Solid(hull, (0, 0, 0), (wide, high, long), 0)]
    top = u(0.0, 0.4)
    if top > 0.08:
        behind, length = u(-0.3, 0.4) * long, long * u(0.3, 0.8)
        solids.append(
            Solid("box", (0, -high - top * 0.9, behind), (wide * u(0.75, 1), top, length), int(random.integers(0, 2)))
        )
        solids.append(Solid("box", (0, -high - top * 0.95, behind), (wide * 1.02, top * 0.55, length * 0.9), 2))
        solids.append(Solid("box", (0, -high - top * 0.95, behind), (wide * 0.7, top * 0.55, length * 1.02), 2))
    if random.random() < 0.6:
        solids.append(Solid("box", (0, high * u(-0.6, 0.6), 0), (wide * 1.02, high * u(0.1, 0.3), long * 1.01), 3))
    wheel = u(0.1, 0.32)
    for z in np.linspace(-0.68, 0.68, random.integers(2, 5)) * long:
        tyre = Solid("tube", (wide * 0.95, high, float(z)), (wheel, 0.07, wheel), 4, (np.pi / 2, 0.0))
        hub = Solid("tube", (wide * 0.98, high, float(z)), (wheel * 0.5, 0.075, wheel * 0.5), 5, (np.pi / 2, 0.0))
        solids += _both([tyre, hub])
    lamp = Solid("ball", (wide * 0.7, 0, -long), (0.06, 0.06, 0.04), 5)
    return solids + _both([lamp])


def _aircraft(random: Random) -> list[Solid]:
    """A hull with wings, a tail and engines; or a fish, which differs little."""
    u = random.uniform
    thick, long = u(0.08, 0.25), u(0.7, 1.0)
    solids = [Solid("ball" if random.random() < 0.6 else "tube", (0, 0, 0), (thick, long, thick), 0, (0, np.pi / 2))]
    solids.append(
        Solid("ball", (0, 0, -long * 0.75), (thick * 1.0, thick * u(0.8, 1), long * 0.3), int(random.integers(0, 3)))
    )
    span, sweep = u(0.25, 1.0), u(-0.2, 0.7)
    wing = Solid(
        "box", (span * 0.55, u(-0.5, 0.8) * thick, u(-0.2, 0.2)), (span * 0.6, u(0.012, 0.05), u(0.08, 0.25)), 1
    )
    solids += _both([replace(wing, turned=(u(-0.25, 0.25), 0.0))])
    if sweep > 0.3:
        engine = Solid("tube", (span * 0.45, thick * 0.6, 0), (0.06, 0.15, 0.06), 3, (0, np.pi / 2))
        solids += _both([engine])
    fin = u(0.12, 0.4)
    solids.append(Solid("box", (0, -thick * 0.5 - fin * 0.8, long * 0.88), (0.02, fin, 0.11), 2, (0, u(-0.5, 0))))
    tail = Solid("box", (0.16, 0, long * 0.92), (0.17, 0.02, 0.08), 1)
    solids += _both([tail])
    if random.random() < 0.5:
        solids.append(Solid("box", (0, -thick * 0.2, 0), (thick * 1.01, thick * u(0.08, 0.3), long * 0.7), 4))
    return solids


def _furniture(random: Random) -> list[Solid]:
    """A board on legs, perhaps with a back, and things standing on it."""
    u = random.uniform
    wide, deep, leg = u(0.3, 0.9), u(0.3, 0.7), u(0.1, 0.6)
    girth = u(0.02, 0.08)
    flat: Kind = "box" if random.random() < 0.75 else "tube"
    solids = [Solid(flat, (0, 0, 0), (wide, u(0.02, 0.15), deep), 0)]
    for z in (-deep * 0.8, deep * 0.8):
        kind: Kind = "box" if random.random() < 0.5 else "tube"
        solids += _both([Solid(kind, (wide * 0.8, leg, z), (girth, leg, girth), 1)])
    if random.random() < 0.6:
        back = u(0.2, 0.6)
        solids.append(Solid("box", (0, -back, deep * 0.95), (wide, back, u(0.02, 0.1)), int(random.integers(0, 3))))
    if random.random() < 0.4:
        solids += _both([Solid("box", (wide, -0.15, 0), (girth * 1.3, 0.15, deep * 0.9), 2)])
    for _ in range(random.integers(0, 3)):
        size = u(0.05, 0.25)
        place = (u(-0.6, 0.6) * wide, -size, u(-0.6, 0.6) * deep)
        solids.append(Solid(_KINDS[random.integers(3)], place, (size * u(0.5, 1), size, size * u(0.5, 1)), 3))
    return solids


def _plant(random: Random) -> list[Solid]:
    """A stem with leaves and a blossom, perhaps in a pot; or a mushroom, or a tree."""
    u = random.uniform
    high, girth = u(0.3, 0.8), u(0.02, 0.14)
    solids = [Solid("tube", (0, 0, 0), (girth, high, girth), 0, (random.normal(0, 0.1), 0.0))]
    for _ in range(random.integers(0, 9)):
        angle, length = u(0, 2 * np.pi), u(0.15, 0.5)
        place = (length * float(np.cos(angle)), u(-0.7, 0.9) * high, length * float(np.sin(angle)))
        solids.append(Solid("ball", place, (length * 0.9, 0.03, length * u(0.2, 0.5)), 1, (u(-0.8, 0.8), u(-0.6, 0.6))))
    crown = u(0.1, 0.6)
    for _ in range(random.integers(1, 6)):
        place = (random.normal(0, 0.4) * crown, -high + random.normal(0, 0.25) * crown, random.normal(0, 0.4) * crown)
        solids.append(Solid("ball", place, (crown * u(0.4, 1), crown * u(0.25, 0.8), crown * u(0.4, 1)), 2))
    if random.random() < 0.4:
        solids.append(
            Solid("ball", (0, -high - crown * 0.1, -crown * 0.4), (crown * 0.35, crown * 0.3, crown * 0.35), 3)
        )
    if random.random() < 0.4:
        solids.append(Solid("tube", (0, high, 0), (u(0.15, 0.4), u(0.1, 0.3), u(0.15, 0.4)), 4))
    return solids


def _vessel(random: Random) -> list[Solid]:
    """Round things on top of each other: bottles, lamps, pots, towers."""
    u = random.uniform
    solids, y, radius = [], 0.0, u(0.15, 0.5)
    square: Kind = "box" if random.random() < 0.25 else "tube"
    for part in range(random.integers(2, 6)):
        high = u(0.04, 0.5)
        kind: Kind = "ball" if random.random() < 0.35 else square
        solids.append(Solid(kind, (0, y - high, 0), (radius, high * (1.2 if kind == "ball" else 1), radius), part))
        if kind != "ball" and random.random() < 0.4:
            band = (0.0, y - high * u(0.6, 1.4), 0.0)
            solids.append(Solid(kind, band, (radius * 1.01, high * u(0.15, 0.4), radius * 1.01), 6))
        y, radius = y - 2 * high * (0.9 if kind == "ball" else 1), radius * u(0.35, 1.4)
    if random.random() < 0.4:
        solids.append(Solid("ball", (radius + u(0.1, 0.3), y / 2, 0), (0.2, 0.15, 0.04), 7))
    return solids


def _cluster(random: Random) -> list[Solid]:
    """Anything stuck to anything, the same on both sides more often than not."""
    u = random.uniform
    solids = [Solid(_KINDS[random.integers(3)], (0, 0, 0), (u(0.2, 0.6), u(0.2, 0.6), u(0.2, 0.6)), 0)]
    for _ in range(random.integers(2, 8)):
        stem = solids[random.integers(len(solids))]
        way = random.normal(0, 1, 3)
        way /= np.linalg.norm(way)
        x, y, z = np.array(stem.middle) + way * stem.half * u(0.7, 1.1)
        half = np.exp(random.uniform(np.log(0.04), np.log(0.5), 3))
        grown = Solid(_KINDS[random.integers(3)], (float(x), float(y), float(z)), (half[0], half[1], half[2]),
                      int(random.integers(0, 5)), (u(-1.5, 1.5), u(-1.5, 1.5)))  # fmt: skip
        solids += _both([grown]) if random.random() < 0.6 else [grown]
    return solids


_ASSEMBLIES: tuple[Callable[[Random], list[Solid]], ...] = (
    _beast,
    _figure,
    _vehicle,
    _aircraft,
    _furniture,
    _plant,
    _vessel,
    _cluster,
)
