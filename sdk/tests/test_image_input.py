"""Whatever image a caller passes becomes the file that is sent."""

import base64
import io
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from air import InputError
from air._image_input import as_base64, as_file

RGB = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


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


@pytest.mark.parametrize("empty", ["", " ", b"", bytearray()])
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
        (RGB.astype(np.uint16), r"uint8, got uint16 \[4, 5, 3\]$"),
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
