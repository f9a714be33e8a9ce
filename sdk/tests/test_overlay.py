"""The image with its mask drawn over it."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from air import InputError, Mask
from air._overlay import colour

GREY = np.full((40, 60, 3), 100, np.uint8)
VALUES = np.zeros((40, 60), np.uint8)
VALUES[5:20, 5:20] = 1
VALUES[20:35, 30:50] = 2


@pytest.fixture
def mask(to_png64):
    return Mask(b64_json=to_png64(VALUES))


def png_file(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def test_segments_are_tinted_and_outlined_and_the_rest_is_unchanged(mask):
    drawn = np.asarray(mask.overlay(GREY, alpha=0.5))
    assert drawn.shape == GREY.shape
    assert (drawn[VALUES == 0] == 100).all()
    for value, centre, edge in ((1, (12, 12), (5, 5)), (2, (27, 40), (34, 49))):
        tint = np.array(colour(value))
        assert np.abs(drawn[centre] - (100 + tint) / 2).max() <= 0.5
        assert tuple(drawn[edge]) == colour(value)


def test_alpha_goes_from_the_image_alone_to_solid_colour(mask):
    assert tuple(np.asarray(mask.overlay(GREY, alpha=0))[12, 12]) == (100, 100, 100)
    assert tuple(np.asarray(mask.overlay(GREY, alpha=1))[12, 12]) == colour(1)


def test_the_outline_is_thin(mask):
    drawn = np.asarray(mask.overlay(GREY, alpha=0))
    assert ((drawn != 100).any(axis=2)).sum() == (4 * 15 - 4) + (2 * (15 + 20) - 4)


def test_the_same_mask_is_always_drawn_the_same(mask):
    assert mask.overlay(GREY).tobytes() == mask.overlay(GREY).tobytes()


def test_the_image_passed_is_not_changed(mask):
    image = Image.fromarray(GREY)
    array = GREY.copy()
    mask.overlay(image)
    mask.overlay(array)
    assert (np.asarray(image) == 100).all()
    assert (array == 100).all()


def test_every_kind_of_image_is_accepted(mask, tmp_path):
    expected = mask.overlay(GREY).tobytes()
    file = png_file(GREY)
    (tmp_path / "grey.png").write_bytes(file)
    text = base64.b64encode(file).decode()
    rgba = Image.fromarray(GREY).convert("RGBA")
    deep = np.full((40, 60), 100 * 257, np.uint16)
    kinds = [file, tmp_path / "grey.png", text, "data:image/png;base64," + text, rgba, GREY[:, :, 0], png_file(deep)]
    for kind in kinds:
        assert mask.overlay(kind).tobytes() == expected


def test_a_file_is_turned_upright_as_the_server_does_and_pixels_are_not(to_png64):
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, :20] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise
    file = io.BytesIO()
    Image.fromarray(wide).save(file, "PNG", exif=exif)
    upright, lying = Mask(b64_json=to_png64(np.zeros((40, 20), np.uint8))), Mask(b64_json=to_png64(wide[:, :, 0] * 0))
    assert np.array_equal(np.asarray(upright.overlay(file.getvalue())), np.rot90(wide, -1))
    assert np.array_equal(np.asarray(lying.overlay(file.getvalue(), exif="ignore")), wide)
    with Image.open(file) as image:
        assert np.array_equal(np.asarray(lying.overlay(image)), wide)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_every_format_is_read_as_the_server_does(to_png64, kind, orientation):
    turned = {1: [], 2: [1], 3: [0, 1], 4: [0]}
    upright = np.full((24, 40, 3), 255, np.uint8)
    upright[:8, :8] = 0
    across = orientation > 4
    flips = turned[orientation] if not across else {5: [], 6: [1], 7: [0, 1], 8: [0]}[orientation]
    # A stored image is flipped along `flips`, then transposed, to be upright; here the way back.
    stored = np.flip(upright, flips).transpose(1, 0, 2) if across else np.flip(upright, flips)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(stored)).save(file, kind, exif=exif)
    for treatment, expected in (("apply", upright), ("ignore", stored)):
        empty = Mask(b64_json=to_png64(np.zeros(expected.shape[:2], np.uint8)))
        drawn = np.asarray(empty.overlay(file.getvalue(), exif=treatment)).astype(int)
        assert drawn.shape == expected.shape
        assert np.abs(drawn - expected).mean() < 8


def test_transparent_parts_are_seen_on_white_as_the_server_sees_them(to_png64):
    empty = Mask(b64_json=to_png64(np.zeros((4, 4), np.uint8)))
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    half = Image.new("LA", (4, 4), (0, 128))
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.info["transparency"] = 1
    file = io.BytesIO()
    palette.save(file, "PNG", transparency=1)
    assert (np.asarray(empty.overlay(clear)) == 255).all()
    assert (np.asarray(empty.overlay(np.asarray(clear))) == 255).all()
    assert (np.asarray(empty.overlay(half)) == 127).all()
    assert (np.asarray(empty.overlay(palette)) == 255).all()
    assert (np.asarray(empty.overlay(file.getvalue())) == 255).all()


def test_a_mask_of_another_size_is_scaled_to_the_image(to_png64):
    small = Mask(b64_json=to_png64(np.array([[1, 0], [0, 2]], np.uint8)))
    drawn = np.asarray(small.overlay(GREY, alpha=1))
    assert drawn.shape == GREY.shape
    assert tuple(drawn[10, 10]) == colour(1)
    assert tuple(drawn[30, 50]) == colour(2)
    assert (drawn[10, 50] == 100).all()


def test_overlapping_segments_are_drawn_the_small_over_the_large():
    ring = [[0, 0], [60, 0], [60, 40], [0, 40]]
    inner = [[20, 10], [40, 10], [40, 30], [20, 30]]
    segments = [{"value": 1, "polygons": [[inner]]}, {"value": 2, "polygons": [[ring]]}, {"value": 3, "polygons": []}]
    drawn = np.asarray(Mask.model_validate({"width": 60, "height": 40, "segments": segments}).overlay(GREY, alpha=1))
    assert tuple(drawn[20, 30]) == colour(1)
    assert tuple(drawn[5, 5]) == colour(2)


def test_an_empty_mask_leaves_the_image_unchanged(to_png64):
    assert (np.asarray(Mask(b64_json=to_png64(VALUES * 0)).overlay(GREY)) == 100).all()


def test_every_value_has_a_colour_of_its_own_and_the_first_ones_are_far_apart():
    colours = [colour(value) for value in range(1, 256)]
    assert len(set(colours)) == 255
    first = np.array(colours[:8], float)
    apart = np.linalg.norm(first[:, None] - first[None], axis=2) + 999 * np.eye(8)
    assert apart.min() > 60


@pytest.mark.parametrize("arguments", [{"alpha": 1.5}, {"alpha": float("nan")}, {"exif": "maybe"}])
def test_invalid_arguments_are_refused(mask, arguments):
    with pytest.raises(InputError):
        mask.overlay(GREY, **arguments)


def test_a_file_that_is_not_an_image_is_refused(mask):
    with pytest.raises(InputError, match="not an image file"):
        mask.overlay(b"hello")


def test_a_notebook_shows_each_value_in_its_colour_on_a_transparent_background(mask):
    shown = np.asarray(Image.open(io.BytesIO(mask._repr_png_())))
    assert (shown[VALUES == 0] == 0).all()
    for value in (1, 2):
        assert (shown[value == VALUES] == (*colour(value), 255)).all()


def test_a_notebook_shows_large_masks_small_and_empty_ones_too(to_png64):
    large = np.zeros((1000, 2000), np.uint8)
    for mask in (large, np.where(np.arange(2000) < 900, np.uint8(1), large)):
        with Image.open(io.BytesIO(Mask(b64_json=to_png64(mask))._repr_png_())) as shown:
            assert shown.size == (800, 400)


def test_a_notebook_shows_the_text_of_a_mask_without_pixels():
    assert Mask(b64_json="AAAA")._repr_png_() is None
    assert Mask()._repr_png_() is None
