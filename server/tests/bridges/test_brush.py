"""Brushes of Label Studio: what is encoded is decoded to the same mask, and other bytes are refused."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from maskery.bridges.label_studio import brush


def reference(data: bytes) -> np.ndarray:
    """All values of a brush, read bit by bit as the format's description says."""
    bits = "".join(f"{byte:08b}" for byte in data)
    place = 0

    def read(width: int) -> int:
        nonlocal place
        place += width
        return int(bits[place - width : place], 2)

    count, value_width = read(32), read(5) + 1
    widths = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        is_run = read(1)
        length = read(widths[read(2)]) + 1
        values += [read(value_width)] * length if is_run else [read(value_width) for _ in range(length)]
    return np.array(values, np.uint8)


def test_the_smallest_brush_is_these_bytes() -> None:
    # 4 values of 8 bits, run lengths of 3, 4, 8 or 16 bits; one run of 4 times 255.
    head = f"{4:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
    bits = f"{head}1{0:02b}{3:03b}{255:08b}"
    expected = bytes(int(bits[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(bits), 8))
    assert brush.encode(np.array([[True]])) == expected


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_every_mask_comes_back(mask: np.ndarray) -> None:
    data = brush.encode(mask)
    assert (brush.decode(data, mask.size) == mask.ravel()).all()
    assert (reference(data).reshape(mask.size, 4) == np.where(mask.ravel(), 255, 0)[:, None]).all()


@pytest.mark.parametrize("pixels", [1, 2, 3, 4, 5, 64, 65, 16383, 16384, 16385, 32768, 32769, 50000])
def test_runs_of_every_length_come_back(pixels: int) -> None:
    mask = np.zeros((1, pixels + 3), np.bool_)
    mask[0, 2 : 2 + pixels] = True
    data = brush.encode(mask)
    assert (brush.decode(data, mask.size) == mask.ravel()).all()
    assert (reference(data)[3::4] == np.where(mask.ravel(), 255, 0)).all()


def literal(values: bytes) -> bytes:
    """Values that are not a run, as a browser's canvas gives them: the channels of coloured pixels differ."""
    head = f"{len(values):032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
    bits = f"{head}0{3:02b}{len(values) - 1:016b}" + "".join(f"{value:08b}" for value in values)
    return bytes(int(bits[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(bits), 8))


def test_alpha_says_which_pixels_are_painted() -> None:
    coloured = bytes([200, 40, 0, 255, 200, 40, 0, 0, 0, 0, 0, 128, 255, 255, 255, 127])
    assert brush.decode(literal(coloured), 4).tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "ends in the middle"),
        (brush.encode(np.ones((4, 4), np.bool_))[:-1], "ends in the middle"),
        (brush.encode(np.ones((4, 5), np.bool_)), "not the four bytes of each of the image's 16 pixels"),
        (literal(bytes(64))[:-2], "ends in the middle"),
        (bytes(2**22 + 1), "at most"),
    ],
)
def test_other_bytes_are_refused(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        brush.decode(data, 16)


def test_a_run_beyond_the_image_is_refused() -> None:
    data = bytearray(brush.encode(np.ones((4, 4), np.bool_)))
    # The length of the only run: 64 values need an index of 2, an 8-bit length behind 53 + 3 bits.
    assert data[7] == 63
    data[7] = 64
    with pytest.raises(ValueError, match="more values"):
        brush.decode(bytes(data), 16)


@given(st.binary(max_size=200))
def test_noise_is_decoded_or_refused(data: bytes) -> None:
    with suppress(ValueError):
        assert brush.decode(data, 16).shape == (16,)
