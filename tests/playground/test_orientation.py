"""Files with an orientation in their metadata: masks and exports agree with what the browser shows.

The images are square, so that their size does not tell whether they have been rotated.
"""

import base64
import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

SIDE = 200
#: Centre of the disc in the stored image. No two orientations put it in the same place.
CENTRE = (160, 70)
RADIUS = 22

ORIENTATION = 0x0112
SHOWN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF>'
    b"</x:xmpmeta>"
)


def disc() -> Any:
    """The pixels of the disc in the stored image: bool [height, width]."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.hypot(x - CENTRE[0], y - CENTRE[1]) <= RADIUS


def encode(image_format: str, **options: Any) -> bytes:
    """A red disc on grey."""
    pixels = np.full((SIDE, SIDE, 3), (170, 175, 180), np.uint8)
    pixels[disc()] = (200, 30, 40)
    file = io.BytesIO()
    quality = {} if image_format == "PNG" else {"quality": 95}
    Image.fromarray(pixels).save(file, image_format, **quality, **options)
    return file.getvalue()


def tiff(orientation: int, kind: int = 3) -> bytes:
    """EXIF data without prefix: a directory with one entry, of the type SHORT (3) or LONG (4)."""
    return b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", ORIENTATION, kind, 1, orientation) + bytes(4)


def exif(orientation: int) -> bytes:
    return b"Exif\0\0" + tiff(orientation)


def jpeg_with(*blocks: bytes) -> bytes:
    """A JPEG file whose APP1 segments have this content."""
    file = encode("JPEG")
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block for block in blocks)
    return file[:2] + segments + file[2:]


def png_with_late_exif(orientation: int) -> bytes:
    """A PNG file whose EXIF data follows its pixels."""
    file, data = encode("PNG"), b"eXIf" + tiff(orientation)
    chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    return file[:-12] + chunk + file[-12:]


def shown_as(orientation: int, pixels: Any) -> Any:
    transpose = SHOWN.get(orientation)
    return pixels if transpose is None else np.asarray(Image.fromarray(pixels).transpose(transpose))


def load(page: Any, folder: Path, name: str, file: bytes) -> Any:
    """Open a file. Returns the disc's pixels as the browser shows them."""
    path = folder / name
    path.write_bytes(file)
    page.load(path)
    for orientation in range(1, 9):
        pixels = shown_as(orientation, disc())
        rows, columns = np.nonzero(pixels)
        red, green, _ = page.pixel(columns.mean(), rows.mean())
        if red > 150 > green:
            return pixels
    pytest.fail(f"{name} does not show the disc")


def click(page: Any, pixels: Any) -> Any:
    """Click on the disc. Returns the mask of the response."""
    rows, columns = np.nonzero(pixels)
    with page.page.expect_response("**/segmentations") as response:
        page.click(round(columns.mean()), round(rows.mean()))
    [mask] = response.value.json()["data"]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(mask["b64_json"])))) > 0


def overlap(one: Any, other: Any) -> float:
    """Intersection over union."""
    return float((one & other).sum() / (one | other).sum())


FILES = {
    "jpeg": {f"{value}.jpg": encode("JPEG", exif=exif(value)) for value in range(1, 9)},
    "png": {f"{value}.png": encode("PNG", exif=exif(value)) for value in (1, 2, 3, 6)},
    "webp": {f"{value}.webp": encode("WEBP", exif=exif(value)) for value in (1, 3, 6)}
    | {"no-prefix.webp": encode("WEBP", exif=tiff(3))},
    "avif": {f"{value}.avif": encode("AVIF", exif=exif(value)) for value in (1, 3, 6)},
    # Programs read these differently; Pillow applies a LONG, and Chromium does not, for example.
    "malformed": {
        "long-3.jpg": jpeg_with(b"Exif\0\0" + tiff(3, kind=4)),
        "long-6.jpg": jpeg_with(b"Exif\0\0" + tiff(6, kind=4)),
        "prefix-6.jpg": jpeg_with(b"Exif\0\xff" + tiff(6)),
        "two.jpg": jpeg_with(exif(3), exif(6)),
        "invalid-and-6.jpg": jpeg_with(b"Exif\0\0invalid", exif(6)),
        "late-3.png": png_with_late_exif(3),
        "long-3.webp": encode("WEBP", exif=tiff(3, kind=4)),
    },
    "xmp": {f"xmp.{kind.lower()}": encode(kind, xmp=XMP) for kind in ("JPEG", "WEBP", "AVIF")},
}


@pytest.mark.parametrize("group", FILES)
def test_the_mask_is_where_the_object_is_shown(page: Any, tmp_path: Path, group: str) -> None:
    for name, file in FILES[group].items():
        pixels = load(page, tmp_path, name, file)
        assert overlap(click(page, pixels), pixels) > 0.6, name


@pytest.mark.parametrize("name", ["6.jpg", "3.png", "3.webp", "prefix-6.jpg"])
# pycocotools uses arrays in a way that NumPy 2 deprecates.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_exports_agree_with_what_is_shown(page: Any, tmp_path: Path, name: str) -> None:
    file = next(group[name] for group in FILES.values() if name in group)
    pixels = load(page, tmp_path, name, file)
    mask = click(page, pixels)
    assert np.array_equal(np.asarray(Image.open(page.export("mask", tmp_path))) > 0, mask)
    overlay = np.asarray(Image.open(page.export("overlay", tmp_path)).convert("RGB")).astype(int)
    # The overlay mixes the disc's red with the colour of the object, which is blue.
    assert overlap(overlay[..., 1] < 110, pixels) > 0.8
    cutout = np.asarray(Image.open(page.export("cutout", tmp_path)))
    inside = cutout[..., :3][cutout[..., 3] > 0].mean(axis=0)
    assert inside[0] > 150 > inside[1]
    [annotation] = json.loads(page.export("rle", tmp_path).read_text())["annotations"]
    assert np.array_equal(coco.decode(annotation["segmentation"]) > 0, mask)


@pytest.mark.parametrize("name", ["6.jpg", "3.png", "3.webp", "6.avif"])
def test_the_code_makes_the_mask_that_is_shown(page: Any, tmp_path: Path, name: str) -> None:
    file = next(group[name] for group in FILES.values() if name in group)
    mask = click(page, load(page, tmp_path, name, file))
    assert ("exif" in page.code("python")) == name.endswith(".webp")
    page.run_python(tmp_path)
    made = tmp_path / f"{Path(name).stem}-mask.png"
    assert np.array_equal(np.asarray(Image.open(made)) > 0, mask)
    made.unlink()
    page.run_curl(tmp_path)
    assert np.array_equal(np.asarray(Image.open(made)) > 0, mask)
