import io
import struct

import numpy as np
import pytest
from PIL import Image

from maskery.segmentation import ImageFile, ImageLimits, ImageTooLarge, NotAnImage, open_image


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def corner() -> Image.Image:
    """40 x 20, white but for a red corner at the top left."""
    image = Image.new("RGB", (40, 20), "white")
    image.paste((255, 0, 0), (0, 0, 8, 8))
    return image


# GIF and BMP have no place for an orientation.
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "TIFF-LZW"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_upright_whatever_its_exif_orientation(corner: Image.Image, orientation: int, kind: str) -> None:
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


def test_exif_is_ignored_when_asked_for(corner: Image.Image) -> None:
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
def test_every_format_that_is_promised_can_be_read(corner: Image.Image, kind: str) -> None:
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


@pytest.mark.parametrize("data", [b"", b"hello, world", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_other_bytes_are_refused_and_the_formats_named(data: bytes) -> None:
    with pytest.raises(NotAnImage, match="JPEG, PNG"):
        open_image(data)


def test_a_truncated_file_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for kind in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF"):
        data = encode(Image.fromarray(noise), kind)
        with pytest.raises(NotAnImage, match=r"damaged|not an image"):
            open_image(data[: len(data) // 2])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_a_damaged_file_is_read_or_refused_and_nothing_else(kind: str) -> None:
    random = np.random.default_rng(0)
    smooth = np.linspace(0, 255, 48 * 32 * 3).reshape(32, 48, 3).astype(np.uint8)
    data = np.frombuffer(encode(Image.fromarray(smooth), kind), np.uint8)
    refused = 0
    for attempt in range(200):
        damaged = data.copy()
        # Headers are where the readers' own trust is misplaced: half of the damage is done there.
        reach = 200 if attempt % 2 else len(data)
        places = random.integers(0, min(reach, len(data)), random.integers(1, 9))
        damaged[places] = random.integers(0, 256, len(places))
        try:
            open_image(damaged.tobytes(), limits=ImageLimits(max_pixels=10_000))
        except (NotAnImage, ImageTooLarge):
            refused += 1
    assert 0 < refused < 200


def test_memory_that_runs_out_is_not_blamed_on_the_image(corner: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(_: object) -> None:
        raise MemoryError

    file = ImageFile(encode(corner))
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", run_out)
    with pytest.raises(MemoryError):
        file.decode()


def test_colours_without_a_meaning_are_refused() -> None:
    data = encode(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF")
    with pytest.raises(NotAnImage, match="8 bits a channel"):
        open_image(data)


def test_a_gif_frame_beyond_its_header_is_refused_before_it_is_allocated() -> None:
    """43 bytes; Pillow would allocate 400 MB when it opens them."""
    header = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    restore_background = b"!\xf9\x04\x08\0\0\0\0"
    for comment in (b"", b"!\xfe\0", b"!\xfe\x02,,\0", b"!\xff\x0bNETSCAPE2.0\x03\1\0\0\0", b"\0"):
        frame = b"," + struct.pack("<HHHHB", 0, 0, 20_000, 20_000, 0) + b"\x02\x02\x44\x01\0;"
        with pytest.raises(ImageTooLarge, match="20000x20000"):
            ImageFile(header + comment + restore_background + frame)


def test_the_header_alone_tells_that_an_image_is_too_large() -> None:
    header = encode(Image.new("1", (50_000, 50_000)))[:64]
    with pytest.raises(ImageTooLarge, match="50000x50000"):
        ImageFile(header)


def test_limits_are_inclusive(corner: Image.Image) -> None:
    data = encode(corner)
    ImageFile(data, limits=ImageLimits(len(data), 800))
    with pytest.raises(ImageTooLarge, match="bytes"):
        ImageFile(data, limits=ImageLimits(len(data) - 1, 800))
    with pytest.raises(ImageTooLarge, match="40x20"):
        ImageFile(data, limits=ImageLimits(len(data), 799))
