"""Compares every candidate with transformers: `make test-parity`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sam_cases import SIZES, image, prompts

from maskery.models.sam.model import Sam, load
from maskery.segmentation import Size, parse_prompt
from parity.oracle import Oracle, correct_transformers, small_config, write_model

correct_transformers()


def pairs(ours: Sam, oracle: Oracle, size: Size) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Logits and scores of each candidate, ours and the reference's."""
    subject = image(size)
    kept, known = ours.encode(subject), oracle.encode(subject)
    fitted = ours.processor.fit(size)
    scale = (fitted.width / size.width, fitted.height / size.height)
    for objects in prompts(size):
        for mine, prompt in zip(ours.decode(kept, objects), objects, strict=True):
            start = None if prompt.mask is None else ours.mask_logits(prompt.mask)
            theirs = oracle.decode(known, prompt, scale, start)
            first = 1 if prompt.is_ambiguous else 0
            rows, columns = mine.logits.shape[1:]
            for index in range(len(mine)):
                expected = theirs.logits[first + index, :rows, :columns]
                yield mine.logits[index], expected, mine.scores[index], theirs.scores[first + index].clip(0, 1)


def relative(mine: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(mine - theirs) / np.linalg.norm(theirs))


def iou(mine: np.ndarray, theirs: np.ndarray, where: np.ndarray | bool = True) -> float:
    mine, theirs = (mine > 0) & where, (theirs > 0) & where
    union = np.count_nonzero(mine | theirs)
    return np.count_nonzero(mine & theirs) / union if union else 1.0


@pytest.fixture(scope="module", params=["sam", "sam_hq"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param)
    write_model(path, small_config(request.param))
    return path


@pytest.fixture(scope="module")
def oracle(folder: Path) -> Oracle:
    return Oracle(folder)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixel_values_agree(folder: Path, oracle: Oracle, size: Size) -> None:
    ours = load("a/b", folder, "r", "f32").processor.pixel_values(image(size))
    np.testing.assert_allclose(ours, oracle.pixel_values(image(size)), atol=2e-6)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_f32_agrees(folder: Path, oracle: Oracle, size: Size) -> None:
    ours = load("a/b", folder, "r", "f32")
    compared = 0
    for logits, expected, score, expected_score in pairs(ours, oracle, size):
        assert relative(logits, expected) < 1e-3
        assert iou(logits, expected) >= 0.999 or np.abs(logits - expected).max() < 1e-4
        assert score == pytest.approx(expected_score, abs=1e-4)
        compared += 1
    assert compared > 100


@pytest.mark.parametrize("size", SIZES[:3], ids=str)
def test_bf16_and_the_stored_half_precision_agree_where_the_logits_are_clear(
    folder: Path, oracle: Oracle, size: Size, record_property: object
) -> None:
    ours = load("a/b", folder, "r", "bf16")
    errors = []
    for logits, expected, _, _ in pairs(ours, oracle, size):
        errors.append(relative(logits, expected))
        clear = np.abs(expected) > np.abs(logits - expected).max()
        assert iou(logits, expected, clear) >= 0.99
    print(f"relative error of the logits in bf16: median {np.median(errors):.3f}, most {max(errors):.3f}")
    assert np.median(errors) < 0.05


def test_full_vit_b_agrees(tmp_path: Path) -> None:
    write_model(tmp_path, {"model_type": "sam_hq", "vision_config": {}})
    oracle = Oracle(tmp_path)
    size = Size(600, 400)
    subject = image(size)
    known = oracle.encode(subject)
    prompt = list(parse_prompt([[[300, 200]], [[100, 100], [20, 20]]], size, [[1], [1, 0]]))
    scale = (1024 / 600, 1024 / 600)
    expected = [oracle.decode(known, each, scale, None) for each in prompt]
    for precision, allowed in (("f32", 1e-3), ("bf16", 0.05)):
        ours = load("a/b", tmp_path, "r", precision)
        for mine, theirs, each in zip(ours.decode(ours.encode(subject), prompt), expected, prompt, strict=True):
            rows, columns = mine.logits.shape[1:]
            logits = theirs.logits[1 if each.is_ambiguous else 0 :, :rows, :columns]
            for index in range(len(mine)):
                error = relative(mine.logits[index], logits[index])
                print(f"{precision}: relative error {error:.2g}, IoU {iou(mine.logits[index], logits[index]):.4f}")
                assert error < allowed
                clear = np.abs(logits[index]) > np.abs(mine.logits[index] - logits[index]).max()
                assert iou(mine.logits[index], logits[index], clear) >= 0.99
                if precision == "f32":
                    assert iou(mine.logits[index], logits[index]) >= 0.999
