"""Whatever image a caller passes becomes the file that is sent."""

import base64
import io
import json
import re
import struct
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from air import InputError, Mask
from air._image_input import as_file, image_body, open_rgb
from air._segment_request import mask_prompts

RGB = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


def as_base64(image):
    return json.loads(image_body("json", image, None, {}).content)["image_prompt"]


@pytest.mark.parametrize("text", ["aGVsbG8=", "data:image/png;base64,aGVs.bG8=", "aGVsbG8", "aGVs\nbG8=", "url-safe_"])
def test_text_is_base64_and_sent_unchanged(text):
    assert as_base64(text) == text


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_are_an_image_file(kind):
    assert as_base64(kind(b"hello")) == "aGVsbG8="
    assert bytes(as_file(kind(b"hello"))) == b"hello"


def test_a_path_is_read(tmp_path):
    (tmp_path / "a.png").write_bytes(b"hello")
    assert as_base64(tmp_path / "a.png") == "aGVsbG8="
    with pytest.raises(FileNotFoundError):
        as_base64(tmp_path / "b.png")


@pytest.mark.parametrize("name", ["car.png", "/tmp/car.jpeg", "C:\\car", "~/car", "http://host/car", "https://host/a"])
def test_a_files_name_as_text_is_an_error_that_says_what_to_pass(name):
    with pytest.raises(InputError, match=r"pathlib\.Path|pass its bytes"):
        as_base64(name)
    with pytest.raises(InputError, match=r"pathlib\.Path|pass its bytes"):
        as_file(name)


def test_a_name_that_could_be_base64_is_refused_if_the_file_exists(tmp_path, monkeypatch):
    (tmp_path / "car").write_bytes(b"hello")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"pathlib\.Path\('car'\)"):
        as_base64("car")
    assert as_base64("carA") == "carA"


def test_text_that_cannot_be_a_name_is_base64():
    assert as_base64("A" * 900) == "A" * 900  # longer than any file's name may be
    assert as_base64("AA\0A") == "AA\0A"


def test_an_id_without_its_prefix_and_an_open_file_are_refused_with_what_to_pass():
    with pytest.raises(InputError, match='prepared image\'s id: pass "id:img_0-a_B"'):
        as_file("img_0-a_B")
    with pytest.raises(InputError, match=r"got BytesIO: pass its read\(\)"):
        as_file(io.BytesIO(b"data"))


@pytest.mark.parametrize("empty", ["", " ", b"", bytearray(), Image.new("RGB", (0, 5))])
def test_an_empty_image_is_refused(empty):
    with pytest.raises(InputError, match="image is empty"):
        as_base64(empty)


@pytest.mark.parametrize("odd", [None, 3, [[1, 2]], {"a": 1}, np.ndarray])
def test_anything_else_is_refused_with_a_list_of_what_is_accepted(odd):
    with pytest.raises(InputError, match="base64 text, the bytes of an image file, a pathlib"):
        as_base64(odd)


@given(
    npst.arrays(
        np.uint8,
        st.one_of(
            st.tuples(st.integers(1, 9), st.integers(1, 9)),
            st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([3, 4])),
        ),
    )
)
def test_arrays_are_sent_without_loss(array):
    sent = Image.open(io.BytesIO(base64.b64decode(as_base64(array))))
    assert sent.format == "PNG"
    assert np.array_equal(np.asarray(sent), array)


def test_arrays_need_not_be_contiguous_nor_numpys_own():
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return RGB[::2, ::-1]

    sent = Image.open(io.BytesIO(as_file(Tensor())))
    assert np.array_equal(np.asarray(sent), RGB[::2, ::-1])


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (
            RGB.astype(np.float32) - 1,
            r"uint8, got float32 \[4, 5, 3\] with values from -1 to 58; scale them",
        ),
        (np.full((2, 2), np.nan), r"got float64 \[2, 2\] with values from nan to nan; scale them"),
        (RGB.astype(np.uint16), r"uint8, got uint16 \[4, 5, 3\]; pass np\.rint\(np\.asarray\(image\)\)"),
        (RGB[:, :, 0] > 3, "uint8, got bool"),
        (RGB[:, :, :2], r"\[height, width, 3\].*got uint8 \[4, 5, 2\]"),
        (RGB[0, 0], r"got uint8 \[3\]"),
        (RGB[None], r"got uint8 \[1, 4, 5, 3\]"),
        (RGB[:0], r"got uint8 \[0, 5, 3\]"),
    ],
)
def test_arrays_of_another_dtype_or_shape_are_refused_with_both(array, sentence):
    with pytest.raises(InputError, match=sentence):
        as_base64(array)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pil_images_are_sent_without_loss(mode):
    image = Image.fromarray(RGB).convert("L" if mode == "I;16" else mode)
    image = image.convert(mode)
    sent = Image.open(io.BytesIO(as_file(image)))
    assert np.array_equal(np.asarray(sent.convert("RGBA")), np.asarray(image.convert("RGBA")))


def test_pil_modes_that_png_lacks_become_rgb():
    sent = Image.open(io.BytesIO(as_file(Image.new("CMYK", (3, 2)))))
    assert sent.mode == "RGB"
    assert np.asarray(sent).min() == 255


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pil_modes_without_a_range_are_refused(mode):
    with pytest.raises(InputError, match="has no fixed range"):
        as_file(Image.new(mode, (3, 2)))


def test_pil_images_are_sent_unturned_without_exif_or_profile(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "turned.png", exif=exif, icc_profile=b"profile")
    with Image.open(tmp_path / "turned.png") as image:
        assert image.getexif()[0x0112] == 6
        sent = Image.open(io.BytesIO(as_file(image)))
    assert np.array_equal(np.asarray(sent), RGB)
    assert 0x0112 not in sent.getexif()
    assert "icc_profile" not in sent.info


def test_transparency_belongs_to_the_pixels():
    image = Image.new("P", (2, 1))
    image.info["transparency"] = 0
    sent = Image.open(io.BytesIO(as_file(image)))
    assert sent.convert("RGBA").getpixel((0, 0))[3] == 0


def test_without_pil_nothing_is_mistaken_for_a_pil_image(monkeypatch):
    monkeypatch.delitem(sys.modules, "PIL.Image")
    with pytest.raises(InputError, match="got object"):
        as_file(object())


def tiff16(values, byte_order):
    """A 16-bit gray TIFF file in either byte order, as microscopes write it."""
    data = values.astype(f"{byte_order}u2").tobytes()
    height, width = values.shape
    entries = [(256, width), (257, height), (258, 16), (259, 1), (262, 1), (273, 122), (277, 1), (278, height)]
    entries.append((279, len(data)))
    head = struct.pack(byte_order + "2sHIH", b"II" if byte_order == "<" else b"MM", 42, 8, len(entries))
    for tag, value in entries:
        head += struct.pack(byte_order + "HHII", tag, 4, 1, value)
    return (head + struct.pack(byte_order + "I", 0)).ljust(122, b"\0") + data


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_deep_gray_pil_images_are_sent_without_loss_in_either_byte_order(byte_order):
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    with Image.open(io.BytesIO(tiff16(values, byte_order))) as image:
        assert image.mode in ("I;16", "I;16B")
        sent = Image.open(io.BytesIO(as_file(image)))
    assert sent.mode == "I;16"
    assert np.array_equal(np.asarray(sent), values)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "HSV", "RGBX", "PA", "La", "RGBa", "I;16L", "I;16N"])
def test_modes_that_png_lacks_look_the_same_to_the_server(mode):
    """The server converts a file in such a mode to RGB, with transparent parts on white, as `open_rgb` does."""
    source = {"PA": "P", "La": "LA", "RGBa": "RGBA"}.get(mode, "L" if mode.startswith("I") else "RGB")
    rgba = np.dstack([np.tile(RGB, (8, 8, 1)), np.arange(32 * 40, dtype=np.uint8).reshape(32, 40)])
    image = Image.fromarray(rgba).convert("RGBA" if source in ("LA", "RGBA") else "RGB")
    if mode in ("HSV", "YCbCr", "CMYK", "RGBX"):
        image = image.convert(mode)
    elif mode == "LAB":
        image = Image.frombytes("LAB", image.size, image.tobytes())
    elif mode.startswith("I;16"):
        image = Image.frombytes(mode, (20, 16), np.arange(320, dtype=np.uint16).tobytes())
    else:
        image = image.convert(source).convert(mode)
    assert image.mode == mode
    assert np.array_equal(open_rgb(as_file(image), None), open_rgb(image, None))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_pil_image_is_turned_with_exif_apply_as_its_file_is(kind, orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.tile(RGB, (8, 8, 1)))
    path = tmp_path / f"photo.{kind.lower()}"
    stored.save(path, kind, exif=exif)
    with Image.open(path) as image:
        by_path, by_pixels = open_rgb(path, "apply"), Image.open(io.BytesIO(as_file(image, "apply")))
    assert by_path.size == by_pixels.size
    assert np.array_equal(by_path, by_pixels.convert("RGB"))


def test_a_pil_image_is_turned_before_it_is_sent_and_prepared_only_with_exif_apply(twin, stub, from_png):
    image = Image.fromarray(RGB)
    image.getexif()[0x0112] = 6
    for exif, size in ((None, (5, 4)), ("ignore", (5, 4)), ("apply", (4, 5))):
        twin.segment(image, exif=exif)
        assert from_png(stub.requests[-1].json["image_prompt"]).size == size
        drawn = Mask(b64_json=as_base64(np.zeros((4, 5), np.uint8))).overlay(image, exif=exif)
        assert drawn.size == size
    stub.plays(stub.reply(201, {"id": "img_1", "width": 4, "height": 5, "expires_in": 1}))
    prepared = twin.run(lambda client: client.images.prepare(image, "m", exif="apply"))
    assert from_png(stub.requests[-1].json["image_prompt"]).size == (4, 5)
    assert Mask(b64_json=as_base64(np.zeros((5, 4), np.uint8))).overlay(prepared).size == (4, 5)


def test_an_orientation_outside_exif_is_not_used():
    """Neither browsers nor the server use it; Pillow does."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "WEBP", xmp=xmp, lossless=True)
    with Image.open(file) as image:
        assert image.getexif()[0x0112] == 6
        assert Image.open(io.BytesIO(as_file(image, "apply"))).size == (5, 4)
    assert open_rgb(file.getvalue(), "apply").size == (5, 4)
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "TIFF", tiffinfo={700: xmp})
    assert open_rgb(file.getvalue(), "apply").size == (5, 4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("prefix", [b"", b"data:image/png;base64,", b"\n"])
def test_base64_given_as_bytes_is_recognised(kind, prefix):
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, kind)
    text = base64.b64encode(file.getvalue())
    assert as_base64(prefix + text) == (prefix + text).decode()
    assert as_file(bytearray(text)) == file.getvalue()
    assert as_file(file.getvalue()) == file.getvalue()


def test_a_pil_image_whose_file_is_closed_is_a_typed_error(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    image = Image.open(tmp_path / "a.png")
    image.close()
    for exif in (None, "apply"):
        with pytest.raises(InputError, match=r"the PIL image cannot be read .*: its file is closed or damaged"):
            as_file(image, exif)
    with pytest.raises(InputError, match=r"^mask_prompts\[0\]: the PIL image cannot be read"):
        mask_prompts([image])
    Image.effect_noise((64, 64), 50).save(tmp_path / "noise.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "noise.png").read_bytes()[:1000])
    with Image.open(tmp_path / "cut.png") as image, pytest.raises(InputError, match="closed or damaged"):
        as_file(image)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, np.uint16, np.bool_])
@pytest.mark.parametrize("highest", [1, 255])
@pytest.mark.parametrize("as_pil", [False, True])
def test_the_advice_for_other_dtypes_works_when_followed(dtype, highest, as_pil):
    expected = np.array([[0, 1, 100], [128, 200, 255]], np.uint8)
    if dtype is np.bool_ or (np.issubdtype(dtype, np.integer) and highest == 1):
        expected = (expected > 99) * np.uint8(255 if dtype is np.bool_ else 1)
        image = expected.astype(dtype)
    else:
        image = expected.astype(dtype) * dtype(highest / 255)
    if as_pil:
        image = Image.fromarray(image.astype(np.float32 if image.dtype.kind == "f" else np.int32))
        expected = expected > 0 if dtype is np.bool_ else expected
    with pytest.raises(InputError) as caught:
        as_file(image)
    advice = re.search(r"; pass (.*)$", str(caught.value))[1]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(as_file(eval(advice))))), expected)


def test_an_array_that_numpy_cannot_read_is_a_typed_error():
    class RemoteTensor:
        def __array__(self, dtype=None, copy=None):
            raise TypeError("can't convert a tensor on cuda:0")

    with pytest.raises(
        InputError, match="RemoteTensor cannot be converted to an array: can't convert a tensor on cuda"
    ):
        as_file(RemoteTensor())
    with pytest.raises(InputError, match=r"^mask_prompts\[0\]: RemoteTensor cannot be converted"):
        mask_prompts([RemoteTensor()])
