import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from nano_cases import CASES
from sam_folders import CACHE

from maskery.models.builtin import nano
from maskery.models.builtin.nano import Nano
from maskery.models.builtin.nano_judge import FEATURES
from maskery.models.builtin.nano_prompt import PLANES
from maskery.models.compile_cache import compilations
from maskery.models.runtime import Arrays, Network, best_precision
from maskery.segmentation import Candidates, Earlier, Image, Model, ObjectPrompt, segment

MODEL = Nano("f32", cache=CACHE)


def disc_image(width: int = 160, height: int = 120) -> tuple[Image, np.ndarray]:
    """An image of a noisy orange disc on noisy blue, and the mask of the disc."""
    y, x = np.mgrid[:height, :width]
    disc = np.hypot(x - width / 2, y - height / 2) < height / 4
    pixels = np.where(disc[..., None], (220, 120, 30), (40, 70, 160)) + np.random.default_rng(0).normal(
        0, 6, (height, width, 3)
    )
    return Image(pixels.clip(0, 255).astype(np.uint8)), disc


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


def decode(image: Image, *prompts: ObjectPrompt, model: Model = MODEL) -> list[Candidates]:
    return model.decode(model.encode(image), prompts)


def mask_of(image: Image, asked: ObjectPrompt, model: Model = MODEL) -> np.ndarray:
    """The mask of the first candidate, bool [height, width]."""
    values = segment(model, image, [asked]).masks[0].values
    assert values is not None
    return values > 0


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return np.count_nonzero(first & second) / np.count_nonzero(first | second)


@pytest.mark.parametrize("index", range(len(CASES)))
def test_masks_and_scores_equal_those_of_pytorch(index: int) -> None:
    """`make golden` stores what PyTorch computes."""
    case, expected = CASES[index], np.load(Path(__file__).with_name("golden-nano.npz"))
    [found] = decode(case.image, case.prompt)
    mask = np.unpackbits(expected[f"mask-{index}"], axis=1, count=found.logits.shape[2]).astype(bool)
    assert iou(found.logits[0] > 0, mask) >= 0.999
    assert found.scores[0] == pytest.approx(expected["scores"][index], abs=0.01)


def test_one_click_finds_an_object_that_stands_out() -> None:
    image, disc = disc_image()
    assert iou(mask_of(image, prompt(on=[(80, 60)])), disc) > 0.85


def test_a_box_alone_finds_the_enclosed_object() -> None:
    image, disc = disc_image()
    assert iou(mask_of(image, prompt(box=(45, 25, 115, 95))), disc) > 0.85


def test_a_mask_prompt_is_refined_to_the_edge() -> None:
    image, disc = disc_image()
    rough = np.zeros_like(disc)
    rough[35:90, 55:105] = True
    assert iou(mask_of(image, prompt(mask=rough)), disc) > max(0.85, iou(rough, disc))


def test_further_points_change_the_mask() -> None:
    image, _ = disc_image()
    pixels = image.pixels.copy()
    pixels[:, :30] = (230, 230, 230)
    split = Image(pixels)
    on_disc = mask_of(split, prompt(on=[(80, 60)], off=[(10, 60)]))
    assert on_disc[60, 80]
    assert not on_disc[60, 10]
    on_both = mask_of(split, prompt(on=[(80, 60), (10, 60)], off=[(140, 10)]))
    assert np.count_nonzero(on_both[:, :30]) > np.count_nonzero(on_disc[:, :30])


def test_a_single_point_has_three_candidates_and_any_other_prompt_one() -> None:
    image, _ = disc_image()
    click, more, box = decode(
        image, prompt(on=[(80, 60)]), prompt(on=[(80, 60), (70, 55)]), prompt(box=(45, 25, 115, 95))
    )
    assert [len(click), len(more), len(box)] == [3, 1, 1]
    assert (np.diff(click.scores) <= 0).all()
    for each in (click, more, box):
        assert (each.logits.dtype, each.scores.dtype) == (np.int8, np.float32)
        assert each.extent == each.logits.shape[:0:-1]
        logits = each.logits_of(0)
        assert logits.dtype == np.float32
        assert ((logits > 0) == (each.logits[0] > 0)).all()
        assert 4 < np.abs(logits).max() <= 8
        assert ((each.scores >= 0) & (each.scores <= 1)).all()


@pytest.mark.parametrize("click", [(0, 0), (159.9, 119.9), (0, 60), (80, 0), (80, 60)])
def test_the_first_candidate_contains_the_point_or_scores_zero(click: tuple[float, float]) -> None:
    image, _ = disc_image()
    [candidates] = decode(image, prompt(on=[click]))
    columns, rows = candidates.extent
    cell = int(click[1] * rows / 120), int(click[0] * columns / 160)
    assert candidates.logits[0][cell] > 0 or candidates.scores[0] == 0
    assert (np.diff(candidates.scores) <= 0).all()


def test_the_same_prompt_has_the_same_candidates() -> None:
    image, _ = disc_image()
    [first], [again] = (decode(image, prompt(on=[(80, 60)]), model=each) for each in (MODEL, Nano("f32", cache=CACHE)))
    np.testing.assert_array_equal(first.logits, again.logits)
    np.testing.assert_array_equal(first.scores, again.scores)


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("precision", sorted({"f32", best_precision()}))
def test_candidates_do_not_depend_on_other_objects(count: int, precision: str) -> None:
    model = Nano(precision, cache=CACHE)
    image, _ = disc_image()
    prompts = [prompt(on=[(80 + 9 * index, 60)], off=[(9, 9)] * (index % 2)) for index in range(count)]
    embedding = model.encode(image)
    for asked, beside in zip(prompts, model.decode(embedding, prompts), strict=True):
        [alone] = model.decode(embedding, [asked])
        np.testing.assert_array_equal(alone.logits, beside.logits)
        np.testing.assert_array_equal(alone.scores, beside.scores)


@pytest.mark.parametrize("box", [None, np.array((45, 25, 115, 95), np.float32)], ids=["points", "box"])
def test_points_make_the_same_mask_whether_sent_at_once_or_one_by_one(box: np.ndarray | None) -> None:
    """As single steps and within groups of several points."""
    image, _ = disc_image()
    embedding = MODEL.encode(image)
    clicks = np.random.default_rng(0).uniform(0, 1, (12, 2)).astype(np.float32) * np.array(image.size, np.float32)
    labels = (np.arange(12) % 3 != 1).astype(np.uint8)
    known: Earlier | None = None
    for count in range(1 if box is None else 0, 13):
        asked = ObjectPrompt(clicks[:count], labels[:count], box)
        [candidates] = MODEL.decode(embedding, [asked], [known])
        known = Earlier(count, candidates)
    [at_once] = MODEL.decode(embedding, [ObjectPrompt(clicks, labels, box)])
    np.testing.assert_array_equal(candidates.logits, at_once.logits)
    np.testing.assert_array_equal(candidates.scores, at_once.scores)


def test_a_further_point_is_one_step_however_many_there_were(monkeypatch: pytest.MonkeyPatch) -> None:
    image, _ = disc_image()
    embedding = MODEL.encode(image)
    clicks = np.random.default_rng(0).uniform(10, 110, (40, 2)).astype(np.float32)
    [before] = MODEL.decode(embedding, [ObjectPrompt(clicks[:-1], np.ones(39, np.uint8))])
    looks: list[int] = []
    run = Network.run

    def count(network: Network, inputs: Arrays) -> Arrays:
        looks.append(len(inputs["prompt"]))
        return run(network, inputs)

    monkeypatch.setattr(Network, "run", count)
    asked = ObjectPrompt(clicks, np.ones(40, np.uint8))
    MODEL.decode(embedding, [asked], [Earlier(39, before)])
    assert looks == [1, 1], "around the object, around the point"
    looks.clear()
    MODEL.decode(embedding, [asked])
    assert len(looks) == 2 + 2 * 12, "many points are taken in groups"


def test_every_clicked_pixel_is_what_it_was_clicked_as() -> None:
    image, _ = disc_image()
    clicks = np.array([(80.5, 60.5), (81.5, 60.5), (140.5, 100.5), (70.5, 55.5)], np.float32)
    labels = np.array([1, 0, 1, 0], np.uint8)
    [candidates] = decode(image, ObjectPrompt(clicks, labels))
    for (x, y), label in zip(clicks.astype(int), labels, strict=True):
        assert (candidates.logits[0, y, x] > 0) == (label == 1)


def test_several_threads_decode_at_the_same_time() -> None:
    image, _ = disc_image()
    asked = [prompt(on=[(80, 60)]), prompt(on=[(10, 10)])] * 4
    alone = [decode(image, each)[0].logits for each in asked]
    start = threading.Barrier(4)

    def work(index: int) -> list[np.ndarray]:
        start.wait()
        return [decode(image, each)[0].logits for each in asked[index:]]

    with ThreadPoolExecutor(4) as pool:
        for index, found in enumerate(pool.map(work, range(4))):
            for mine, theirs in zip(alone[index:], found, strict=True):
                np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (3000, 40), (40, 3000), (17, 23)])
def test_images_of_every_size_are_segmented(size: tuple[int, int]) -> None:
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = mask_of(Image(pixels), prompt(on=[(width - 0.5, height - 0.5)]))
    assert found.shape == (height, width)


@pytest.mark.parametrize(("quarters", "mirrored"), [(0, True), (1, False), (2, False), (3, True)])
def test_a_mirrored_or_turned_image_has_the_same_answers(quarters: int, mirrored: bool) -> None:
    def turned(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.rot90(values[:, ::-1] if mirrored else values, quarters))

    image = disc_image(150, 120)[0].pixels.copy()
    image[20:60, 100:140] = (200, 230, 240)
    clicked = np.zeros(image.shape[:2], np.uint8)
    clicked[57, 70], clicked[30, 120] = 1, 2
    corners = np.zeros(image.shape[:2], np.bool_)
    corners[30:90, 45:105] = True

    def answers(pixels: np.ndarray, clicks: np.ndarray, boxed: np.ndarray) -> list[np.ndarray]:
        (on,), (off,) = (np.argwhere(clicks == value)[:, ::-1] for value in (1, 2))
        (top, left), (bottom, right) = np.argwhere(boxed).min(0), np.argwhere(boxed).max(0) + 1
        asked = (
            prompt(on=[tuple(on)]),
            prompt(on=[tuple(on)], off=[tuple(off)]),
            prompt(box=(left, top, right, bottom)),
            prompt(mask=boxed),
        )
        return [mask_of(Image(pixels), each) for each in asked]

    expected = answers(image, clicked, corners)
    for mask, again in zip(expected, answers(turned(image), turned(clicked), turned(corners)), strict=True):
        assert iou(turned(mask), again) > 0.99


def test_the_embedding_does_not_grow_with_the_image() -> None:
    large, larger = (MODEL.encode(disc_image(*size)[0]) for size in ((800, 600), (1600, 1200)))
    assert large.nbytes == larger.nbytes < 3_000_000
    assert larger.size == (1600, 1200)


def test_masks_in_the_precision_of_the_processor_equal_those_in_f32() -> None:
    image, _ = disc_image()
    half = Nano(best_precision(), cache=CACHE)
    for asked in (prompt(on=[(80, 60)]), prompt(box=(45, 25, 115, 95))):
        assert iou(mask_of(image, asked), mask_of(image, asked, half)) > 0.98


def test_one_compilation_serves_images_and_prompts_of_every_shape() -> None:
    before = compilations.total
    for width, height in ((160, 90), (120, 110), (110, 120), (90, 160), (500, 40), (33, 99)):
        image, _ = disc_image(width, height)
        decode(image, prompt(on=[(width / 2, height / 2)]), prompt(on=[(3, 3), (9, 9)], off=[(20, 20)]))
        decode(image, *[prompt(box=(5, 5, 20 + 2 * index, 30)) for index in range(5)])
    assert compilations.total - before <= 1


def test_first_calls_from_two_threads_compile_once() -> None:
    model, image = Nano("f32"), disc_image()[0]
    embedding = model.encode(image)
    before = compilations.total
    start = threading.Barrier(4)

    def work(_: int) -> None:
        start.wait()
        model.decode(embedding, [prompt(on=[(80, 60)])])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert compilations.total - before == 1


def test_precisions_have_different_revisions() -> None:
    assert Nano("f32").revision != Nano("bf16").revision


def test_a_mirrored_image_has_the_mirrored_mask() -> None:
    image, _ = disc_image()
    mirrored = Image(np.ascontiguousarray(image.pixels[:, ::-1]))
    plain, turned = mask_of(image, prompt(on=[(70.5, 50.5)])), mask_of(mirrored, prompt(on=[(89.5, 50.5)]))
    assert iou(turned[:, ::-1], plain) > 0.95


@pytest.mark.parametrize("images", [1, 3])
def test_onnx_runtime_gives_the_same_outputs(images: int) -> None:
    random = np.random.default_rng(0)
    inputs = {
        "image": random.integers(0, 256, (images, 192, 320, 3), dtype=np.uint8),
        "prompt": random.uniform(0, 1, (3, PLANES, 48, 80)).astype(np.float32),
        "previous": np.zeros((3, 1, 96, 160), np.float32),
    }
    graph = Path(nano.__file__).parent / nano.GRAPH
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = ["logits", *FEATURES]
    ours = MODEL.network.run(inputs)
    for name, theirs in zip(names, session.run(names, inputs), strict=True):
        np.testing.assert_allclose(ours[name], theirs, atol=1e-3 * np.abs(theirs).max())
