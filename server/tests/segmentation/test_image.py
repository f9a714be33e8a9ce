import io
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from maskery.segmentation import (
    FILE_SUFFIXES,
    READABLE,
    Exif,
    ImageFile,
    ImageLimits,
    ImageTooLarge,
    NotAnImage,
    open_image,
)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.fixture
def corner() -> Image.Image:
    """40 x 20, white but for a red corner at the top left."""
    image = Image.new("RGB", (40, 20), "white")
    image.paste((255, 0, 0), (0, 0, 8, 8))
    return image


# GIF and BMP have no place for an orientation.
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "TIFF-LZW"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(corner: Image.Image, orientation: int, kind: str) -> None:
    backwards = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = corner.transpose(backwards[orientation]) if orientation > 1 else corner
    exif = Image.Exif()
    exif[0x0112] = orientation
    kind, _, compression = kind.partition("-")
    options = {"compression": "tiff_lzw"} if compression else {}
    data = encode(stored, kind, exif=exif if kind == "TIFF" else exif.tobytes(), **options)
    for treatment, expected in (("apply", corner), ("ignore", stored)):
        file = ImageFile(data, treatment)
        assert file.size == expected.size
        image = file.decode()
        assert image.size == expected.size
        assert np.abs(image.pixels.astype(int) - np.asarray(expected)).mean() < 12


def test_exif_can_be_ignored(corner: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(corner, exif=exif.tobytes())
    assert open_image(data).size == (20, 40)
    assert open_image(data, exif="ignore").size == (40, 20)
    assert ImageFile(data).digest != ImageFile(data, "ignore").digest


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_malformed_exif_leaves_the_image_as_stored(corner: Image.Image) -> None:
    assert open_image(encode(corner, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")).size == (40, 20)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_every_supported_format_is_decoded(corner: Image.Image, kind: str) -> None:
    pixels = open_image(encode(corner, kind)).pixels.astype(int)
    assert abs(pixels - np.asarray(corner).astype(int)).mean() < 12


def test_gray_images_become_rgb() -> None:
    gray = Image.fromarray(np.arange(200, dtype=np.uint8).reshape(10, 20))
    pixels = open_image(encode(gray)).pixels
    assert pixels.shape == (10, 20, 3)
    assert (pixels == np.asarray(gray)[..., None]).all()


def test_sixteen_bit_gray_is_scaled_not_clipped() -> None:
    deep = np.linspace(0, 65535, 200).astype(np.uint16).reshape(10, 20)
    pixels = open_image(encode(Image.fromarray(deep))).pixels
    assert (pixels[..., 0] == deep >> 8).all()


def test_cmyk_jpegs_keep_their_colours() -> None:
    pixels = open_image(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")).pixels
    red, green, blue = pixels[8, 8].tolist()
    assert red > 200
    assert green < 60
    assert blue < 60


def test_transparent_parts_are_shown_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert (open_image(encode(clear)).pixels == 255).all()
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert (open_image(encode(palette, transparency=1)).pixels == 255).all()
    assert (open_image(encode(palette)).pixels == (10, 20, 30)).all()


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (open_image(data).pixels == (255, 0, 0)).all()


@pytest.mark.parametrize("data", [b"", b"hello, world", b"<html>"])
def test_other_bytes_are_refused_and_the_supported_formats_named(data: bytes) -> None:
    with pytest.raises(NotAnImage, match="not an image: send JPEG, PNG"):
        open_image(data)


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0" + bytes(9), b"BM"])
def test_a_header_without_an_image_is_refused(data: bytes) -> None:
    with pytest.raises(NotAnImage, match="header is damaged"):
        open_image(data)


def test_a_truncated_file_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for kind in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF"):
        data = encode(Image.fromarray(noise), kind)
        with pytest.raises(NotAnImage, match="damaged"):
            open_image(data[: len(data) // 2])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_a_damaged_file_is_decoded_or_refused(kind: str) -> None:
    random = np.random.default_rng(0)
    smooth = np.linspace(0, 255, 48 * 32 * 3).reshape(32, 48, 3).astype(np.uint8)
    data = np.frombuffer(encode(Image.fromarray(smooth), kind), np.uint8)
    refused = 0
    for attempt in range(200):
        damaged = data.copy()
        # Headers are checked least: half of the damage is done there.
        reach = 200 if attempt % 2 else len(data)
        places = random.integers(0, min(reach, len(data)), random.integers(1, 9))
        damaged[places] = random.integers(0, 256, len(places))
        try:
            open_image(damaged.tobytes(), limits=ImageLimits(max_pixels=10_000))
        except (NotAnImage, ImageTooLarge):
            refused += 1
    assert 0 < refused < 200


def test_running_out_of_memory_is_not_an_error_of_the_image(
    corner: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(_: object) -> None:
        raise MemoryError

    file = ImageFile(encode(corner))
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", run_out)
    with pytest.raises(MemoryError):
        file.decode()


def test_a_gif_frame_beyond_its_header_is_refused_before_it_is_allocated() -> None:
    """43 bytes; Pillow would allocate 400 MB when it opens them."""
    header = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    restore_background = b"!\xf9\x04\x08\0\0\0\0"
    for comment in (b"", b"!\xfe\0", b"!\xfe\x02,,\0", b"!\xff\x0bNETSCAPE2.0\x03\1\0\0\0", b"\0"):
        frame = b"," + struct.pack("<HHHHB", 0, 0, 20_000, 20_000, 0) + b"\x02\x02\x44\x01\0;"
        with pytest.raises(ImageTooLarge, match="20000x20000"):
            ImageFile(header + comment + restore_background + frame)


def test_the_size_is_checked_in_the_header() -> None:
    header = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0))
    with pytest.raises(ImageTooLarge, match="50000x50000"):
        ImageFile(header + chunk(b"IDAT", b""))


def test_limits_are_inclusive(corner: Image.Image) -> None:
    data = encode(corner)
    ImageFile(data, limits=ImageLimits(len(data), 800))
    with pytest.raises(ImageTooLarge, match="bytes"):
        ImageFile(data, limits=ImageLimits(len(data) - 1, 800))
    with pytest.raises(ImageTooLarge, match="40x20"):
        ImageFile(data, limits=ImageLimits(len(data), 799))


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("treatment", ["apply", "ignore"])
def test_an_orientation_in_xmp_is_ignored(corner: Image.Image, kind: str, treatment: Exif) -> None:
    options: dict[str, object] = {"tiffinfo": {700: XMP}} if kind == "TIFF" else {"xmp": XMP}
    image = ImageFile(encode(corner, kind, **options), treatment)
    assert image.size == (40, 20)
    assert image.decode().size == (40, 20)


def test_an_orientation_in_the_text_of_a_png_is_ignored(corner: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = exif.tobytes()
    text = f"\nexif\n{len(raw):8}\n{raw.hex()}\n".encode()
    png = encode(corner)
    for extra in (
        chunk(b"tEXt", b"Raw profile type exif\0" + text),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    ):
        assert open_image(png[:33] + extra + png[33:]).size == (40, 20)


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(3_000_000))),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<x/>" * 600_000)),
        chunk(b"iCCP", b"p\0\0" + zlib.compress(np.random.default_rng(0).bytes(1_500_000))),
        chunk(b"tEXt", b"Comment\0hello")[:-1] + b"?",
        chunk(b"gAMA", b"?"),
        chunk(b"pHYs", b""),
        chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0")[:-1] + b"?",
    ],
    ids=["text", "xmp", "profile", "checksum", "gamma", "resolution", "exif"],
)
def test_parts_of_a_png_that_its_pixels_do_not_depend_on_are_not_read(corner: Image.Image, extra: bytes) -> None:
    png = encode(corner)
    assert (open_image(png[:33] + extra + png[33:]).pixels == np.asarray(corner)).all()


def test_transparency_of_a_png_is_kept(corner: Image.Image) -> None:
    palette = corner.quantize(4)
    assert (open_image(encode(palette, transparency=bytes(4))).pixels == 255).all()


def test_a_png_of_millions_of_chunks_is_refused() -> None:
    with pytest.raises(NotAnImage, match="200,000 chunks"):
        open_image(encode(Image.new("L", (4, 4)))[:33] + 250_000 * chunk(b"tEXt", b""))


def photograph(size: tuple[int, int] = (96, 200)) -> Image.Image:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 10, 3), np.uint8))
    return noise.resize(size, Image.Resampling.BICUBIC)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 95}], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_may_lack_its_last_bytes(mode: str, options: dict[str, object]) -> None:
    data = encode(photograph().convert(mode), "JPEG", **options)
    whole = open_image(data).pixels.astype(int)
    # A progressive file may begin its last scan in the last ten bytes.
    for missing in (1, 2) if options.get("progressive") else (1, 2, 10):
        pixels = open_image(data[:-missing]).pixels.astype(int)
        assert (pixels[: 200 - 16] == whole[: 200 - 16]).all()


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_a_jpeg_that_ends_in_the_middle_is_refused(mode: str, options: dict[str, object], share: float) -> None:
    data = encode(photograph().convert(mode), "JPEG", quality=95, **options)
    with pytest.raises(NotAnImage, match="damaged"):
        open_image(data[: int(len(data) * share)])


@pytest.mark.parametrize("bits", [8, 9, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_gray_is_scaled_by_the_bits_in_use(bits: int, kind: str) -> None:
    gray = np.linspace(0, 255, 200).astype(np.uint16).reshape(10, 20)
    pixels = open_image(encode(Image.fromarray(gray << (bits - 8)), kind)).pixels
    assert (pixels == gray[..., None]).all()
    assert (open_image(encode(Image.fromarray(gray * 0), kind)).pixels == 0).all()


def deep_png(pixels: np.ndarray[Any, Any]) -> bytes:
    return cv2.imencode(".png", swap(pixels))[1].tobytes()


def deep_tiff(pixels: np.ndarray[Any, Any]) -> bytes:
    return cv2.imencode(".tiff", swap(pixels))[1].tobytes()


def raw_tiff(pixels: np.ndarray[Any, Any], order: str = "<") -> bytes:
    """A TIFF without compression."""
    height, width, channels = pixels.shape
    tags = {256: width, 257: height, 258: 16, 259: 1, 262: 2, 273: 0, 277: channels, 278: height, 279: pixels.nbytes}
    if channels == 4:
        tags[338] = 2
    start = 8 + 2 + 12 * len(tags) + 4
    tags[273] = start
    entries = b"".join(struct.pack(f"{order}HHLL", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    magic = b"II*\0" if order == "<" else b"MM\0*"
    head = magic + struct.pack(f"{order}LH", 8, len(tags)) + entries + bytes(4)
    return head + pixels.astype(f"{order}u2").tobytes()


def big_endian_tiff(pixels: np.ndarray[Any, Any]) -> bytes:
    return raw_tiff(pixels, ">")


def swap(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """RGB to OpenCV's order of channels."""
    return np.dstack([pixels[..., 2::-1], pixels[..., 3:]])


DEEP_COLOUR = [deep_png, deep_tiff, raw_tiff, big_endian_tiff]


@pytest.mark.parametrize("bits", [8, 9, 10, 12, 14, 15, 16])
@pytest.mark.parametrize("write", DEEP_COLOUR)
def test_sixteen_bit_colour_is_scaled_by_the_bits_in_use(bits: int, write: Callable[..., bytes]) -> None:
    eight = np.random.default_rng(0).integers(0, 256, (10, 20, 3)).astype(np.uint16)
    low = np.random.default_rng(1).integers(0, 1 << (bits - 8), eight.shape).astype(np.uint16)
    eight[0, 0] = 10, 20, 255
    assert (open_image(write((eight << (bits - 8)) | low)).pixels == eight).all()
    assert (open_image(write(eight * 0)).pixels == 0).all()


@pytest.mark.parametrize("full", [0xFFF, 0xFFFF], ids=["12 bits of alpha", "16 bits of alpha"])
@pytest.mark.parametrize("write", DEEP_COLOUR)
def test_the_transparency_of_twelve_bit_colour_has_twelve_or_sixteen_bits(
    full: int, write: Callable[..., bytes]
) -> None:
    eight = np.random.default_rng(0).integers(0, 256, (10, 20, 3)).astype(np.uint16)
    eight[0, 0] = 255
    alpha = np.full((10, 20), full, np.uint16)
    alpha[5:] = 0
    pixels = open_image(write(np.dstack([eight << 4, alpha]))).pixels
    assert (pixels[:5] == eight[:5]).all()
    assert (pixels[5:] == 255).all()


def test_twelve_bit_colour_is_turned_as_its_exif_says() -> None:
    eight = np.random.default_rng(0).integers(0, 256, (10, 20, 3)).astype(np.uint16)
    eight[0, 0] = 255
    png = deep_png(eight << 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = png[:33] + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + png[33:]
    assert (open_image(turned).pixels == np.rot90(eight, -1)).all()
    assert (open_image(turned, "ignore").pixels == eight).all()


def twelve_bit_jpeg() -> bytes:
    data = bytearray(encode(Image.new("L", (8, 8)), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (twelve_bit_jpeg(), "12 bits a channel; 8 are supported"),
        (encode(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"), "floating-point"),
        (encode(Image.fromarray(np.zeros((4, 4), np.int32)), "TIFF"), "32-bit integers"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIC, which is not supported: send JPEG"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(99), "HEIC, which is not supported: send JPEG"),
        (b"\xff\x0a" + bytes(9), "JPEG XL, which"),
        (b"%PDF-1.7", "PDF, which"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG, which"),
    ],
)
def test_the_reason_of_a_refusal_is_given(data: bytes, says: str) -> None:
    with pytest.raises(NotAnImage, match=says):
        open_image(data)


def test_the_global_state_of_pillow_is_unchanged() -> None:
    """A program that uses this package may use Pillow, too."""
    script = """
import PIL.Image as pillow
before = pillow.MAX_IMAGE_PIXELS, pillow._initialized, list(pillow.OPEN), list(pillow.ID)
import maskery.segmentation
assert before == (pillow.MAX_IMAGE_PIXELS, pillow._initialized, list(pillow.OPEN), list(pillow.ID))
image = pillow.new("L", (4, 4)); image.save("a.png")
maskery.segmentation.open_image(open("a.png", "rb").read())
from PIL import ImageFile, PngImagePlugin
assert pillow.MAX_IMAGE_PIXELS == before[0] and not ImageFile.LOAD_TRUNCATED_IMAGES
assert PngImagePlugin.MAX_TEXT_CHUNK == 1048576
"""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", script], check=True, cwd=folder)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_the_limit_on_pixels_may_be_above_that_of_pillow(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 10)
    assert open_image(encode(Image.new("L", (100, 100)), kind)).size == (100, 100)


def test_an_image_above_the_limit_of_pillow_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(Image.new("L", (100, 100)), "TIFF")
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ImageTooLarge, match="exceeds limit of 20 pixels"):
        open_image(data)


def test_extensions_are_those_of_the_formats_in_pillow() -> None:
    formats = {name.upper() for name in READABLE} | {"MPO"}
    assert {suffix for suffix, name in Image.registered_extensions().items() if name in formats} == FILE_SUFFIXES


@pytest.mark.parametrize("rest", [bytes(3_000_000), b"\xff" * 100, b"x"], ids=["zeros", "ones", "one"])
def test_bytes_after_the_end_of_a_png_are_ignored(corner: Image.Image, rest: bytes) -> None:
    assert open_image(encode(corner) + rest).size == corner.size


def test_a_jpeg_of_many_scans_is_refused() -> None:
    """Each scan of 90 bytes takes milliseconds in a large image, so that one file could take hours."""
    file = encode(Image.new("L", (64, 64), 128), "JPEG", progressive=True)
    start = file.index(b"\xff\xda", file.index(b"\xff\xda") + 2)
    scan = file[start : file.index(b"\xff\xc4", start)]
    repeated = file[:-2] + 300 * scan + file[-2:]
    for data in (repeated, repeated[:-2], file[:-2] + b"\xff\x01" + 300 * scan + file[-2:]):
        with pytest.raises(NotAnImage, match="more than 200 scans"):
            ImageFile(data)
    for data in (
        file[:-2] + 100 * scan + file[-2:],
        file + 300 * scan,
        file[:2] + b"\xff\xfe\x04\x02" + 512 * b"\xff\xda" + file[2:],
    ):
        assert open_image(data).size == (64, 64)
