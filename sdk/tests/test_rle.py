"""COCO's run lengths, against pycocotools."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pycocotools import mask as coco

from air import MaskError
from air._mask_arrays import decode_rle


def encoded(mask):
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


@given(npst.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_any_mask_that_pycocotools_writes_is_read(mask):
    assert np.array_equal(decode_rle(encoded(mask), *mask.shape), mask)


@pytest.mark.parametrize("shape", [(1, 1), (3000, 2), (2, 3000), (500, 700)])
def test_runs_of_any_length_are_read(shape):
    rows, columns = np.indices(shape)
    for mask in (np.zeros(shape, bool), np.ones(shape, bool), (rows * 7 + columns * 3) % 1000 < 400):
        assert np.array_equal(decode_rle(encoded(mask), *shape), mask)


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ("", "does not fill a mask of 3x2"),
        ("5", "does not fill"),
        ("7", "does not fill"),
        ("N81", "does not fill"),  # a run of -2
        ("6 ", "not one of its digits"),
        ("6é", "not one of its digits"),
        ("6P", "ends within a number"),
    ],
)
def test_damaged_runs_are_an_error(counts, sentence):
    with pytest.raises(MaskError, match=sentence):
        decode_rle(counts, 2, 3)
