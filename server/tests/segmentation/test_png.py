"""Masks as PNG files: lossless for every reader, small, and and never much larger than a general library's."""

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from maskery.segmentation import Size, to_png
from maskery.segmentation.compose import ObjectLogits, compose
from maskery.segmentation.mask import Values

shapes = st.one_of(
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
    st.tuples(st.integers(1, 600), st.just(1)),
    st.tuples(st.just(1), st.integers(1, 600)),
)
masks = st.one_of(
    hnp.arrays(np.uint8, shapes),
    hnp.arrays(np.uint16, shapes),
    hnp.arrays(np.uint8, shapes, elements=st.integers(0, 1)),
    hnp.arrays(np.uint16, shapes, elements=st.sampled_from([0, 1, 255, 256, 300])),
)


def with_pillow(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def with_opencv(png: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)


def by_the_specification(png: bytes) -> np.ndarray:
    """Decode a PNG strictly by the specification."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, rest = [], png[8:]
    while rest:
        length, kind = struct.unpack(">I4s", rest[:8])
        data, check = rest[8 : 8 + length], rest[8 + length : 12 + length]
        assert struct.unpack(">I", check)[0] == zlib.crc32(kind + data)
        chunks.append((kind, data))
        rest = rest[12 + length :]
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, bits, *others = struct.unpack(">2I5B", chunks[0][1])
    assert others == [0, 0, 0, 0]
    depth = bits // 8
    decompressor = zlib.decompressobj()
    rows = np.frombuffer(decompressor.decompress(chunks[1][1]), np.uint8).reshape(height, 1 + width * depth)
    assert decompressor.eof
    assert not decompressor.unused_data
    above, read = np.zeros(width * depth, np.uint8), []
    for kind, data in zip(rows[:, 0], rows[:, 1:], strict=True):
        assert kind in (0, 2)
        above = data + above if kind == 2 else data
        read.append(above)
    return np.stack(read).view(f">u{depth}")


@given(masks)
def test_every_reader_decodes_the_mask(values: np.ndarray) -> None:
    png = to_png(values)
    for read in (with_pillow, with_opencv, by_the_specification):
        answer = read(png)
        assert answer.dtype.itemsize == values.dtype.itemsize
        assert answer.shape == values.shape
        assert (answer == values).all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([np.uint8, np.uint16]), st.integers(1, 3), st.integers(1, 3))
def test_bands_join_without_a_seam(seed: int, kind: type, down: int, across: int) -> None:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 4, (700 // down, 900 // across))
    values = np.kron(small, np.ones((down, across), int)).astype(kind) * (77 if kind == np.uint16 else 1)
    # Half of it repeats its rows and half does not, so that neighbouring bands are laid out differently.
    values[350:] = values[350]
    assert (by_the_specification(to_png(values)) == values).all()


def test_part_of_a_larger_array_and_an_array_by_columns() -> None:
    values = np.random.default_rng(0).integers(0, 3, (50, 70)).astype(np.uint8)
    for part in (values[3:40, 5:61], values[::2, ::3], values.T, values[::-1, ::-1]):
        assert (with_pillow(to_png(part)) == part).all()
        assert (with_pillow(to_png(part.astype(np.uint16) * 99)) == part.astype(np.uint16) * 99).all()


@pytest.mark.parametrize("objects", [255, 256])
def test_255_objects_have_8_bits_and_256_have_16(objects: int) -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((objects, 6, 8)).astype(np.float32) - 1
    mask = compose([ObjectLogits(each, (8, 6), 0.9) for each in logits], Size(160, 120), merge_iou=1)
    assert mask.values is not None
    image = Image.open(io.BytesIO(to_png(mask.values)))
    assert image.mode == ("L" if objects == 255 else "I;16")
    assert (np.asarray(image) == mask.values).all()


def blobs(count: int, seed: int = 0) -> Values:
    """Objects as models find them, with smooth edges that are a little rough, on 2 megapixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:192, :256]
    layers = []
    for _ in range(count):
        centre, radius = rng.uniform((0, 0), (256, 192)), rng.uniform(20, 90) / count**0.5
        rough = cv2.GaussianBlur(rng.standard_normal((192, 256)), (0, 0), 1.5)
        logits = (radius - np.hypot(x - centre[0], y - centre[1])) + rough * 3
        layers.append(ObjectLogits(logits.astype(np.float32), (256, 192), 0.9))
    values = compose(layers, Size(1632, 1224), merge_iou=1).values
    assert values is not None
    return values


def stripes(width: int, height: int) -> Values:
    return np.tile((np.arange(width) // 3 % 7).astype(np.uint8), (height, 1))


def noise(below: int) -> Values:
    return np.random.default_rng(0).integers(0, below, (600, 800)).astype(np.uint8 if below <= 256 else np.uint16)


def opencv(values: Values) -> bytes:
    """OpenCV's own for such images: run-length matching."""
    strategy = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    return cv2.imencode(".png", values, strategy)[1].tobytes()


SAMPLES: dict[str, Callable[[], Values]] = {
    "nothing": lambda: np.zeros((1224, 1632), np.uint8),
    "one object": lambda: blobs(1),
    "eight objects": lambda: blobs(8),
    "200 objects": lambda: blobs(200),
    "300 objects": lambda: blobs(300),
    "columns": lambda: stripes(1632, 1224),
    "rows": lambda: np.ascontiguousarray(stripes(1224, 1632).T),
    "two values at random": lambda: noise(2),
    "bytes at random": lambda: noise(256),
    "300 values at random": lambda: noise(301),
    "words at random": lambda: noise(65536),
}


@pytest.mark.parametrize("sample", SAMPLES)
def test_files_are_at_most_a_tenth_larger_than_those_of_opencv(sample: str) -> None:
    values = SAMPLES[sample]()
    png = to_png(values)
    assert (with_pillow(png) == values).all()
    assert len(png) <= 1.1 * len(opencv(values))
    assert len(png) <= 1.01 * values.nbytes + 100
