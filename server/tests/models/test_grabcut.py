import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from maskery.models.builtin.grabcut import GrabCut
from maskery.segmentation import Candidates, Image, Model, ObjectPrompt, segment

MODEL: Model = GrabCut()


def disc_image(width: int = 160, height: int = 120) -> tuple[Image, np.ndarray]:
    """An image of a noisy orange disc on noisy blue, and the mask of the disc."""
    y, x = np.mgrid[:height, :width]
    disc = np.hypot(x - width / 2, y - height / 2) < height / 4
    pixels = np.where(disc[..., None], (220, 120, 30), (40, 70, 160)) + np.random.default_rng(0).normal(
        0, 12, (height, width, 3)
    )
    return Image(pixels.clip(0, 255).astype(np.uint8)), disc


def flat_image(width: int, height: int) -> Image:
    return Image(np.full((height, width, 3), 128, np.uint8))


def prompt(
    on: Sequence[tuple[float, float]] = (),
    off: Sequence[tuple[float, float]] = (),
    box: tuple[float, float, float, float] | None = None,
    mask: np.ndarray | None = None,
) -> ObjectPrompt:
    return ObjectPrompt(
        np.array([*on, *off], np.float32).reshape(-1, 2),
        np.array([1] * len(on) + [0] * len(off), np.uint8),
        None if box is None else np.array(box, np.float32),
        mask,
    )


def decode(image: Image, *prompts: ObjectPrompt) -> list[Candidates]:
    return MODEL.decode(MODEL.encode(image), prompts)


def mask_of(image: Image, asked: ObjectPrompt) -> np.ndarray:
    """The mask of the first candidate, bool [height, width]."""
    values = segment(MODEL, image, [asked]).masks[0].values
    assert values is not None
    return values > 0


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return np.count_nonzero(first & second) / np.count_nonzero(first | second)


def assert_sound(candidates: Candidates, image: Image) -> None:
    assert candidates.logits.dtype == candidates.scores.dtype == np.float32
    assert len(candidates.logits) == len(candidates.scores) == 3
    assert candidates.extent == candidates.logits.shape[:0:-1]
    assert np.isfinite(candidates.logits).all()
    assert ((candidates.scores >= 0) & (candidates.scores <= 1)).all()
    assert (np.diff(candidates.scores) <= 0).all()


def test_one_click_finds_an_object_that_stands_out() -> None:
    image, disc = disc_image()
    assert iou(mask_of(image, prompt(on=[(80, 60)])), disc) > 0.9


def test_a_box_alone_finds_the_enclosed_object() -> None:
    image, disc = disc_image()
    found = mask_of(image, prompt(box=(45, 25, 115, 95)))
    assert iou(found, disc) > 0.9
    assert not found[:, :45].any()


def test_a_rough_mask_is_refined_to_the_edge() -> None:
    image, disc = disc_image()
    rough = np.zeros_like(disc)
    rough[35:90, 55:105] = True
    assert iou(mask_of(image, prompt(mask=rough)), disc) > max(0.9, iou(rough, disc))


def test_a_large_image_is_segmented_on_a_small_copy() -> None:
    image, disc = disc_image(1600, 1200)
    embedding = MODEL.encode(image)
    assert embedding.size == (1600, 1200)
    assert embedding.nbytes < 200_000
    rows, columns = embedding.arrays["image"].shape[:2]
    assert embedding.tokens == -(-rows // 16) * -(-columns // 16)
    assert iou(mask_of(image, prompt(on=[(800, 600)])), disc) > 0.9


def test_candidates_of_one_click_differ_in_extent_and_come_best_first() -> None:
    y, x = np.mgrid[:160, :160]
    rings = np.hypot(x - 80, y - 80)
    noise = np.random.default_rng(1).normal(0, 10, (160, 160, 3))
    pixels = np.choose((rings > 18).astype(int) + (rings > 42) + (rings > 64), (220, 160, 90, 30))[..., None] + noise
    image = Image(pixels.clip(0, 255).astype(np.uint8))
    [candidates] = decode(image, prompt(on=[(80, 80)]))
    assert_sound(candidates, image)
    areas = sorted((candidates.logits > 0).sum(axis=(1, 2)))
    assert areas[0] * 1.5 < areas[2]


def test_positive_points_are_inside_and_negative_points_outside() -> None:
    image, _ = disc_image(900, 700)
    random = np.random.default_rng(2)
    points = [(float(x), float(y)) for x, y in random.permutation(900 * 700)[:20, None] // (1, 900) % (900, 700)]
    found = mask_of(image, prompt(on=points[:10], off=points[10:]))
    assert [found[int(y), int(x)] for x, y in points] == [True] * 10 + [False] * 10


@pytest.mark.parametrize("point", [(0, 0), (159, 0), (0, 119), (159.9, 119.9), (80, 0)])
def test_a_point_at_the_images_edge_is_inside(point: tuple[float, float]) -> None:
    image, _ = disc_image()
    assert mask_of(image, prompt(on=[point]))[int(point[1]), int(point[0])]


def test_every_component_of_the_mask_contains_a_positive_point() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    points = [(20, 20), (100, 70)]
    [candidates] = decode(Image(noise), prompt(on=points, off=[(60, 45)]))
    for logits in candidates.logits:
        count, parts = cv2.connectedComponents((logits > 0).astype(np.uint8), connectivity=4)
        assert set(range(1, count)) == {int(parts[y, x]) for x, y in points}


def test_a_negative_point_excludes_pixels_of_the_same_colour() -> None:
    image, _ = disc_image()
    pixels = image.pixels.copy()
    pixels[20:100, 90:] = pixels[60, 80]
    pixels[20:100, 84:90] = pixels[60, 10]
    split = Image(pixels)
    off = mask_of(split, prompt(on=[(65, 60)], off=[(125, 60)]))
    assert off[60, 65]
    assert off[30:90, 100:150].mean() < 0.1


def test_candidates_do_not_depend_on_other_objects() -> None:
    image, _ = disc_image()
    first, second = prompt(on=[(80, 60)]), prompt(box=(10, 10, 60, 60))
    together = decode(image, first, second)
    for alone, beside in zip([*decode(image, first), *decode(image, second)], together, strict=True):
        np.testing.assert_array_equal(alone.logits, beside.logits)
        np.testing.assert_array_equal(alone.scores, beside.scores)


def test_candidates_are_the_same_on_every_thread() -> None:
    noise = np.random.default_rng(4).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    embedding = MODEL.encode(Image(cv2.GaussianBlur(noise, (0, 0), 3).astype(np.uint8)))
    prompts = [prompt(on=[(x, 30)]) for x in range(10, 74, 8)]
    expected = [MODEL.decode(embedding, [each])[0] for each in prompts]
    started = threading.Barrier(4)

    def work(seed: int) -> list[Candidates]:
        cv2.setRNGSeed(seed + 1)
        started.wait()
        order = np.random.default_rng(seed).permutation(len(prompts))
        answers = {int(index): MODEL.decode(embedding, [prompts[index]])[0] for index in order}
        return [answers[index] for index in range(len(prompts))]

    with ThreadPoolExecutor(4) as pool:
        for answers in pool.map(work, range(4)):
            for found, wanted in zip(answers, expected, strict=True):
                np.testing.assert_array_equal(found.logits, wanted.logits)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 1), (1, 3), (5, 5), (1, 20_000), (70_000, 1), (64, 48)])
def test_images_of_any_shape_and_of_one_colour_are_segmented(width: int, height: int) -> None:
    image = flat_image(width, height)
    x, y = width // 2, height // 2
    for asked in (prompt(on=[(x, y)]), prompt(box=(0, 0, width, height)), prompt(on=[(x, y)], off=[(0, 0)])):
        [candidates] = decode(image, asked)
        assert_sound(candidates, image)
        assert (candidates.logits[0] > 0).any()
    assert mask_of(image, prompt(on=[(x, y)]))[y, x]


def test_in_an_image_of_one_colour_the_mask_is_the_initial_guess() -> None:
    found = mask_of(flat_image(200, 150), prompt(on=[(100, 75)]))
    assert 0.02 < found.mean() < 0.5


def test_a_point_both_on_and_off_the_object_is_inside() -> None:
    image, _ = disc_image()
    assert mask_of(image, prompt(on=[(80, 60)], off=[(80, 60)]))[60, 80]


@pytest.mark.parametrize("box", [(80, 60, 81, 61), (0, 0, 1, 1), (159, 119, 160, 120), (80.2, 60.2, 80.4, 60.4)])
def test_a_box_of_one_pixel_gives_that_pixel(box: tuple[float, float, float, float]) -> None:
    image, _ = disc_image()
    found = mask_of(image, prompt(box=box))
    assert np.argwhere(found).tolist() == [[int(box[1]), int(box[0])]]


def test_an_empty_mask_prompt_is_ignored() -> None:
    image, disc = disc_image()
    empty = np.zeros_like(disc)
    with_point, [alone] = mask_of(image, prompt(on=[(80, 60)], mask=empty)), decode(image, prompt(mask=empty))
    np.testing.assert_array_equal(with_point, mask_of(image, prompt(on=[(80, 60)])))
    assert not (alone.logits > 0).any()
    assert (alone.scores == 0).all()


def test_a_full_mask_gives_the_whole_image() -> None:
    image, disc = disc_image()
    assert mask_of(image, prompt(mask=np.ones_like(disc))).all()


def test_a_clear_object_scores_higher_than_noise() -> None:
    image, _ = disc_image()
    noise = Image(np.random.default_rng(5).integers(0, 256, (120, 160, 3), dtype=np.uint8))
    [clear], [unclear] = decode(image, prompt(on=[(80, 60)])), decode(noise, prompt(on=[(80, 60)]))
    assert clear.scores[0] > unclear.scores[0] + 0.2
