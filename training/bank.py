"""Photos, masks and sprites in few arrays: packed small to travel, unpacked once where the training runs.

    python -m training.bank photos --data DIR --out photos.npz
    python -m training.bank cutouts --data DIR --out cutouts.npz
    python -m training.bank unpack --photos photos.npz [--cutouts cutouts.npz] --out DIR

`photos` leaves out what is held out. `unpack` also draws the sprites that are made up.
"""

import argparse
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data import Library, Photo, Thing, read_library
from training.sources import SOURCES
from training.sprites import Sprite, Sprites

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]

#: Sides of the arrays that photos and sprites lie in.
PHOTO_SIDE, SPRITE_SIDE = 384, 192

_MASKS_OF_A_PHOTO = 24
_PARTS_OF_A_WHOLE = 6
_ASSEMBLED, _INVENTED = 5000, 3000
KINDS_MADE_UP = ("assembled", "invented")

_FEW = Library()


@dataclass(frozen=True, eq=False)
class Bank:
    """What scenes are made of.

    Attributes:
        photos: uint8 [photos, 3, 384, 384], RGB, in the top left corner.
        sizes: int [photos, 2], width and height.
        sources: of the photos, names.
        masks: uint8 [masks, 384, 384], 0 or 255.
        owners: int [masks], the photo of each.
        boxes: int [masks, 4], x, y, width, height.
        areas: int [masks].
        wholes: bool [masks], False for parts of another mask's object.
        parts: int [masks, 6], masks of its parts; -1 where there are fewer.
        sprites: uint8 [sprites, 4, 192, 192], RGB and opacity, in the top left corner.
        labels: uint8 [sprites, 192, 192], the part that shows, from 1; 0 where there are no parts.
        sprite_sizes: int [sprites, 2], width and height.
        sprite_areas: int [sprites], opaque pixels.
        kinds: of the sprites, names.
    """

    photos: Bytes
    sizes: Numbers
    sources: NDArray[np.str_]
    masks: Bytes
    owners: Numbers
    boxes: Numbers
    areas: Numbers
    wholes: NDArray[np.bool_]
    parts: Numbers
    sprites: Bytes
    labels: Bytes
    sprite_sizes: Numbers
    sprite_areas: Numbers
    kinds: NDArray[np.str_]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in self.__dataclass_fields__:
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> "Bank":
        return cls(**{name: np.load(folder / f"{name}.npy") for name in cls.__dataclass_fields__})


def is_held_out(name: str) -> bool:
    """Whether a photo, by its name source/file, is kept for evaluation."""
    source = SOURCES.get(name.partition("/")[0])
    every = source.held_out if source else 0
    return every > 0 and zlib.crc32(name.encode()) % every == 0


def held_out(data: Path, longest: int = 512) -> Library:
    """The photos that are kept for evaluation."""
    return Library([photo for photo in read_library(data, longest).photos if is_held_out(photo.name)])


def runs(mask: Bytes) -> NDArray[np.uint32]:
    """Lengths of the runs of a mask [rows, columns], row by row, the first of zeros."""
    flat = np.concatenate(([0], mask.ravel() > 0, [0])).astype(np.int8)
    edges = np.flatnonzero(np.diff(flat))
    return np.diff(np.concatenate(([0], edges))).astype(np.uint32)


def from_runs(lengths: NDArray[np.uint32], rows: int, columns: int) -> Bytes:
    """The mask, 0 or 255, that `runs` described."""
    flat = np.zeros(rows * columns, np.uint8)
    ends = np.cumsum(lengths.astype(np.int64))
    for start, end in zip(ends[0::2], ends[1::2], strict=False):
        flat[start:end] = 255
    return flat.reshape(rows, columns)


def pack_photos(data: Path, out: Path, side: int, quality: int) -> int:
    """Write the photos to train on and their masks to one file; its bytes."""
    random = np.random.default_rng(0)
    photos = [photo for photo in read_library(data, side).photos if photo.things and not is_held_out(photo.name)]
    chosen = [photo for source in sorted({p.source for p in photos}) for photo in _some(photos, source, random)]
    images, masks, rows = [], [], []
    for index, photo in enumerate(chosen):
        coded = cv2.imencode(".webp", photo.pixels[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
        images.append(coded.ravel())
        first = len(masks)
        kept = _kept(photo, random)
        place = {old: first + new for new, old in enumerate(kept)}
        for old in kept:
            thing = photo.things[old]
            parts = [place[part] for part in thing.parts if part in place][:_PARTS_OF_A_WHOLE]
            masks.append(runs(thing.mask()))
            rows.append(
                [index, *thing.box, thing.area, int(thing.whole), *parts, *[-1] * (_PARTS_OF_A_WHOLE - len(parts))]
            )
    np.savez_compressed(
        out,
        images=np.concatenate(images),
        image_ends=np.cumsum([len(each) for each in images]),
        sizes=np.array([photo.pixels.shape[1::-1] for photo in chosen]),
        sources=np.array([photo.source for photo in chosen]),
        runs=np.concatenate(masks),
        run_ends=np.cumsum([len(each) for each in masks]),
        rows=np.array(rows, np.int32),
    )
    return out.stat().st_size


def pack_cutouts(data: Path, out: Path, side: int, quality: int) -> int:
    """Write all cut-outs to one file; its bytes."""
    coded, kinds = [], []
    for path in sorted(data.glob("cutouts/*/*.webp")):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        shrink = min(1.0, side / max(pixels.shape[:2]))
        if shrink < 1:
            pixels = _shrunk(pixels, shrink)
        coded.append(cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].ravel())
        kinds.append(path.parent.name)
    ends = np.cumsum([len(each) for each in coded])
    np.savez(out, images=np.concatenate(coded), image_ends=ends, kinds=np.array(kinds))
    return out.stat().st_size


def unpack(
    photos: Path, cutouts: Path | None, workers: int, made_up: tuple[int, int] = (_ASSEMBLED, _INVENTED)
) -> Bank:
    """The bank of packed photos and cut-outs, and of made-up sprites: so many assemblies and inventions."""
    with np.load(photos) as packed:
        stored = {name: packed[name] for name in packed.files}
    rows, sizes = stored["rows"].astype(np.int64), stored["sizes"].astype(np.int64)
    pixels = np.zeros((len(sizes), 3, PHOTO_SIDE, PHOTO_SIDE), np.uint8)
    masks = np.zeros((len(rows), PHOTO_SIDE, PHOTO_SIDE), np.uint8)
    with ProcessPoolExecutor(workers) as pool:
        for index, image in enumerate(
            pool.map(_decoded, _pieces(stored["images"], stored["image_ends"]), chunksize=32)
        ):
            pixels[index, :, : image.shape[0], : image.shape[1]] = image[:, :, 2::-1].transpose(2, 0, 1)
        for index, lengths in enumerate(_pieces(stored["runs"], stored["run_ends"])):
            columns, lines = sizes[rows[index, 0]]
            masks[index, :lines, :columns] = from_runs(lengths, lines, columns)
    sprites: list[Bytes] = []
    labels: list[Bytes] = []
    extents: list[tuple[int, int]] = []
    kinds = _cutouts(cutouts, workers, sprites, labels, extents) if cutouts else []
    global _FEW  # noqa: PLW0603 - what forks inherit
    some = [sprite.transpose(1, 2, 0)[: size[1], : size[0]] for sprite, size in zip(sprites, extents, strict=True)]
    _FEW = _few_photos(pixels, sizes, stored["sources"], masks, rows, some[::40])
    work = [(kind, seed) for kind, total in zip(KINDS_MADE_UP, made_up, strict=True) for seed in range(-(-total // 50))]
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        for kind, drawn in pool.map(_drawn, work):
            for image, label in drawn:
                _add(sprites, labels, extents, image, label)
                kinds.append(kind)
    opaque = np.stack(sprites)
    return Bank(
        pixels, sizes, stored["sources"], masks, rows[:, 0], rows[:, 1:5], rows[:, 5], rows[:, 6] > 0, rows[:, 7:],
        opaque, np.stack(labels), np.array(extents, np.int64), (opaque[:, 3] > 127).sum((1, 2)), np.array(kinds),
    )  # fmt: skip


def with_cutouts(bank: Bank, cutouts: Path, workers: int) -> Bank:
    """A bank with packed cut-outs besides its own sprites."""
    sprites: list[Bytes] = []
    labels: list[Bytes] = []
    extents: list[tuple[int, int]] = []
    kinds = _cutouts(cutouts, workers, sprites, labels, extents)
    opaque = np.stack(sprites)
    return replace(
        bank,
        sprites=np.concatenate([bank.sprites, opaque]),
        labels=np.concatenate([bank.labels, np.stack(labels)]),
        sprite_sizes=np.concatenate([bank.sprite_sizes, np.array(extents, np.int64)]),
        sprite_areas=np.concatenate([bank.sprite_areas, (opaque[:, 3] > 127).sum((1, 2))]),
        kinds=np.concatenate([bank.kinds, np.array(kinds)]),
    )


def _cutouts(
    path: Path, workers: int, sprites: list[Bytes], labels: list[Bytes], extents: list[tuple[int, int]]
) -> list[str]:
    with np.load(path) as packed:
        pieces, names = list(_pieces(packed["images"], packed["image_ends"])), packed["kinds"].tolist()
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        for image in pool.map(_decoded, pieces, chunksize=32):
            _add(sprites, labels, extents, cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA).astype(np.uint8), None)
    return list(names)


def _some(photos: Sequence[Photo], source: str, random: np.random.Generator) -> list[Photo]:
    mine = [photo for photo in photos if photo.source == source]
    most = SOURCES[source].most if source in SOURCES else len(mine)
    order = random.permutation(len(mine))[:most]
    return [mine[index] for index in sorted(order)]


def _kept(photo: Photo, random: np.random.Generator) -> list[int]:
    """Indices of the things whose masks are packed: the largest half, others at random."""
    order = sorted(range(len(photo.things)), key=lambda index: -photo.things[index].area)
    large, rest = order[: _MASKS_OF_A_PHOTO // 2], order[_MASKS_OF_A_PHOTO // 2 :]
    return sorted(large + random.permutation(rest)[: _MASKS_OF_A_PHOTO // 2].astype(int).tolist())


def _pieces(joined: NDArray[Any], ends: NDArray[Any]) -> Iterator[NDArray[Any]]:
    start = 0
    for end in ends.tolist():
        yield joined[start:end]
        start = end


def _decoded(coded: Bytes) -> Bytes:
    cv2.setNumThreads(1)
    image = cv2.imdecode(coded, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError("an image of the pack is damaged")
    return image.astype(np.uint8, copy=False)


def _shrunk(pixels: Any, share: float) -> Any:
    """Averages of pixels; colours count by their opacity."""
    alpha = pixels[:, :, 3:].astype(np.float32) / 255
    weighted = np.dstack([pixels[:, :, :3] * alpha, alpha])
    small = cv2.resize(weighted, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    colours = small[:, :, :3] / np.maximum(small[:, :, 3:], 1e-3)
    return np.dstack([colours, small[:, :, 3:] * 255]).round().clip(0, 255).astype(np.uint8)


def _add(
    sprites: list[Bytes], labels: list[Bytes], extents: list[tuple[int, int]], image: Bytes, label: Bytes | None
) -> None:
    shrink = min(1.0, SPRITE_SIDE / max(image.shape[:2]))
    if shrink < 1:
        image = _shrunk(image, shrink)
    rows, columns = image.shape[:2]
    sprite = np.zeros((4, SPRITE_SIDE, SPRITE_SIDE), np.uint8)
    sprite[:, :rows, :columns] = image.transpose(2, 0, 1)
    shown = np.zeros((SPRITE_SIDE, SPRITE_SIDE), np.uint8)
    if label is not None:
        shown[:rows, :columns] = cv2.resize(label, (columns, rows), interpolation=cv2.INTER_NEAREST)
    sprites.append(sprite)
    labels.append(shown)
    extents.append((columns, rows))


@dataclass(frozen=True, eq=False)
class _Decoded(Thing):
    """A thing whose mask is at hand."""

    shown: Bytes | None = None

    def mask(self) -> Bytes:
        return self.shown if self.shown is not None else Thing.mask(self)


def _few_photos(
    pixels: Bytes, sizes: Numbers, sources: Any, masks: Bytes, rows: Numbers, cutouts: list[Bytes]
) -> Library:
    """Some photos of every source, for the textures and silhouettes of made-up sprites."""
    photos = []
    for source in sorted(set(sources.tolist())):
        for index in np.flatnonzero(sources == source)[::7][:20]:
            columns, lines = sizes[index]
            things = []
            for row in np.flatnonzero(rows[:, 0] == index)[:4]:
                shown = (masks[row, :lines, :columns] > 0).astype(np.uint8)
                things.append(_Decoded({}, tuple(rows[row, 1:5].tolist()), int(rows[row, 5]), shown=shown))
            image = np.ascontiguousarray(pixels[index, :, :lines, :columns].transpose(1, 2, 0))
            photos.append(Photo(f"{source}/{index}", image, tuple(things)))
    return Library(photos, cutouts)


def _drawn(work: tuple[str, int]) -> tuple[str, list[tuple[Bytes, Bytes]]]:
    kind, seed = work
    cv2.setNumThreads(1)
    random = np.random.default_rng((seed, len(kind)))
    sprites = Sprites(_FEW)
    found = []
    for _ in range(50):
        sprite: Sprite = getattr(sprites, kind)(random)
        label = np.zeros(sprite.pixels.shape[:2], np.uint8)
        for number, part in enumerate(sprite.parts[:_PARTS_OF_A_WHOLE]):
            label[part > 0] = number + 1
        found.append((sprite.pixels, label))
    return kind, found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.bank", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("photos", "cutouts", "unpack"))
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--photos", type=Path, metavar="FILE")
    parser.add_argument("--cutouts", type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, default=0)
    parser.add_argument("--quality", type=int, default=0)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--made-up", type=int, nargs=2, default=(_ASSEMBLED, _INVENTED))
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    if options.what == "unpack":
        bank = unpack(options.photos, options.cutouts, options.workers, tuple(options.made_up))
        bank.save(options.out)
        counts = {name: getattr(bank, name).shape for name in ("photos", "masks", "sprites")}
        print(json.dumps({name: list(shape) for name, shape in counts.items()}))
    elif options.what == "photos":
        written = pack_photos(options.data, options.out, options.side or PHOTO_SIDE, options.quality or 72)
        print(f"{options.out}: {written / 1e6:.1f} MB")
    else:
        written = pack_cutouts(options.data, options.out, options.side or SPRITE_SIDE, options.quality or 80)
        print(f"{options.out}: {written / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
