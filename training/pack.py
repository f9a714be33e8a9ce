"""A smaller copy of the data, in the same form, to be carried to another machine.

python -m training.pack --data DIR --out DIR [--side 320] [--quality 80]
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
from pycocotools import mask as coco_mask

from training.data import NoData, resized_mask

_CUTOUT_SIDE = 192


def pack(data: Path, out: Path, side: int, quality: int) -> int:
    """Copy photos and cut-outs, shrunk and compressed anew; the bytes written.

    Raises:
        NoData: there is nothing to copy.
    """
    sources = sorted(path.parent for path in data.glob("*/annotations.json"))
    if not sources:
        raise NoData(f"{data} holds no <source>/annotations.json")
    for source in sources:
        _photos(source, out / source.name, side, quality)
    for cutout in sorted(data.glob("cutouts/*/*.webp")):
        target = out / cutout.relative_to(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), _shrunk(_read(cutout), _CUTOUT_SIDE), [cv2.IMWRITE_WEBP_QUALITY, quality])
    return sum(path.stat().st_size for path in out.rglob("*.*") if path.is_file())


def _photos(source: Path, out: Path, side: int, quality: int) -> None:
    (out / "images").mkdir(parents=True, exist_ok=True)
    listing = json.loads((source / "annotations.json").read_text())
    shapes: dict[int, tuple[int, int]] = {}
    for image in listing["images"]:
        pixels = _shrunk(_read(source / "images" / image["file_name"]), side)
        shapes[image["id"]] = (pixels.shape[0], pixels.shape[1])
        cv2.imwrite(str(out / "images" / image["file_name"]), pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    kept = []
    for each in listing["annotations"]:
        rle = resized_mask(each["segmentation"], shapes[each["image_id"]])
        if coco_mask.area(rle):
            counts = rle["counts"]
            text = counts.decode() if isinstance(counts, bytes) else counts
            kept.append({**each, "segmentation": {"size": list(rle["size"]), "counts": text}})
    (out / "annotations.json").write_text(json.dumps({**listing, "annotations": kept}))


def _read(path: Path) -> Any:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise NoData(f"{path} is missing or damaged")
    return pixels


def _shrunk(pixels: Any, side: int) -> Any:
    shrink = side / max(pixels.shape[:2])
    return pixels if shrink >= 1 else cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.pack", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--side", type=int, default=320, help="of a photo, at most (default: 320)")
    parser.add_argument("--quality", type=int, default=80, help="of JPEG and WebP (default: 80)")
    options = parser.parse_args(arguments)
    try:
        written = pack(options.data, options.out, options.side, options.quality)
    except NoData as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.out}: {written / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
