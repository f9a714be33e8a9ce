"""What each source of photos is worth, and what of it is held out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """How a source of photos is used.

    Attributes:
        weight: how often its photos are shown, against the other sources.
        trust: weight of its masks in the loss.
        edges: its outlines are good to about a pixel, so that errors there count more.
        wholes: its masks are of whole objects; else they may be parts of objects that it does not mark.
        held_out: one in so many photos is held out; 1: all of them; 0: none.
        most: photos that are used, at most.
    """

    weight: float = 1.0
    trust: float = 1.0
    edges: bool = True
    wholes: bool = True
    held_out: int = 0
    most: int = 10_000


SOURCES = {
    "animals": Source(6.0, held_out=6),
    "books": Source(2.0, held_out=6),
    "buildings-aerial": Source(1.2, 0.8, edges=False, held_out=10),
    "campus-roads": Source(held_out=1),
    "car-damage": Source(0.8, 0.6, edges=False, wholes=False, held_out=8),
    "chicken-parts": Source(0.4, 0.6, edges=False),
    "clothing": Source(5.0, 0.9, held_out=20, most=800),
    "coco-openlicence": Source(held_out=1),
    "documents-in-photos": Source(1.3, held_out=8),
    "facades": Source(1.0, held_out=10),
    "food": Source(3.0, held_out=10),
    "foot-xrays": Source(held_out=1),
    "fruit": Source(held_out=1),
    "granules": Source(1.0),
    "grounds": Source(2.5, 0.7, edges=False, held_out=8),
    "kidney-scans": Source(0.4),
    "medical-waste": Source(held_out=1),
    "mushrooms": Source(0.6),
    "nails": Source(held_out=1),
    "nuclei": Source(0.4),
    "packets": Source(0.8, 0.8),
    "strawberry-plants": Source(1.0),
    "tabletop": Source(0.4, 0.7, edges=False, most=60),
    "underwater": Source(5.0, 0.9, held_out=8),
}

#: Kinds of sprites and how often each is drawn, beside objects cut out of photos.
SPRITES = {"sweethome3d": 0.34, "fluent": 0.07, "noto": 0.06, "openclipart": 0.12, "assembled": 0.18, "invented": 0.09}
