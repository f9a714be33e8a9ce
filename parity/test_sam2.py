"""SAM 2 and EdgeTAM against transformers, candidate by candidate."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sam_cases import SIZES, image, prompts

from maskery.models.sam2.model import Sam2, load
from maskery.segmentation import Candidates, ObjectPrompt, Size, parse_prompt
from parity.oracle import Output
from parity.oracle_sam2 import Sam2Oracle, small_config, write_model
from parity.test_parity import iou, relative

Pair = tuple[np.ndarray, np.ndarray, float, float]
Ask = Callable[[Any, ObjectPrompt, tuple[float, float], np.ndarray | None], Output]

# One step of 8 bits, in the values that the network takes.
STEP = 1 / 255 / 0.224


def cases(ours: Sam2, size: Size, ask: Ask) -> Iterator[tuple[ObjectPrompt, Candidates, Output]]:
    """Prompts, our candidates, and what the oracle answers to `ask`."""
    subject = image(size)
    known = ask.__self__.encode(ours.processor.pixel_values(subject))  # type: ignore[attr-defined]
    embedding = ours.encode(subject)
    scale = (ours.processor.side / size.width, ours.processor.side / size.height)
    for objects in prompts(size):
        for mine, prompt in zip(ours.decode(embedding, objects), objects, strict=True):
            start = None if prompt.mask is None else ours.mask_logits(prompt.mask)
            yield prompt, mine, ask(known, prompt, scale, start)


def pairs(ours: Sam2, oracle: Sam2Oracle, size: Size) -> Iterator[Pair]:
    for _, mine, theirs in cases(ours, size, oracle.decode):
        first = 4 - len(mine)
        for index in range(len(mine)):
            yield mine.logits[index], theirs.logits[first + index], mine.scores[index], theirs.scores[first + index]


@pytest.fixture(scope="module", params=["sam2", "edgetam"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param)
    write_model(path, small_config(request.param))
    return path


@pytest.fixture(scope="module")
def oracle(folder: Path) -> Sam2Oracle:
    return Sam2Oracle(folder)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_images_are_prepared_within_one_step_of_8_bits(folder: Path, oracle: Sam2Oracle, size: Size) -> None:
    ours = load("a/b", folder, "r", "f32").processor.pixel_values(image(size))
    difference = np.abs(ours - oracle.pixel_values(image(size)))
    assert difference.max() < 1.01 * STEP
    assert difference.mean() < 0.2 * STEP


@pytest.mark.parametrize("size", SIZES[1:3], ids=str)
def test_f32_agrees(folder: Path, oracle: Sam2Oracle, size: Size) -> None:
    compared = 0
    for logits, expected, score, expected_score in pairs(load("a/b", folder, "r", "f32"), oracle, size):
        assert relative(logits, expected) < 1e-3
        assert iou(logits, expected) >= 0.999 or np.abs(logits - expected).max() < 1e-4
        assert score == pytest.approx(expected_score, abs=1e-4)
        compared += 1
    assert compared > 100


def test_unstable_masks_are_replaced_alike(folder: Path, oracle: Sam2Oracle) -> None:
    counts, size = {3: 0, 4: 0}, SIZES[1]
    for prompt, mine, choice in cases(load("a/b", folder, "r", "f32"), size, oracle.choose):
        if not prompt.is_ambiguous:
            assert relative(mine.logits[0], choice.logits[0]) < 1e-3
            assert mine.scores[0] == pytest.approx(choice.scores[0], abs=1e-4)
            counts[len(mine)] += 1
    assert sum(counts.values()) > 20


def test_bf16_agrees_where_the_logits_are_clear(folder: Path, oracle: Sam2Oracle) -> None:
    errors, size = [], SIZES[1]
    for logits, expected, _, _ in pairs(load("a/b", folder, "r", "bf16"), oracle, size):
        errors.append(relative(logits, expected))
        clear = np.abs(expected) > np.abs(logits - expected).max()
        assert iou(logits, expected, clear) >= 0.99
    print(f"relative error of the logits in bf16: median {np.median(errors):.3f}, most {max(errors):.3f}")
    assert np.median(errors) < 0.05


def test_the_image_part_of_a_video_model_is_the_image_model(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    document = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**document, "model_type": f"{document['model_type']}_video"}))
    size, prompt = SIZES[1], parse_prompt([[[20, 20]]], SIZES[1])
    one, other = (load("a/b", each, "r", "f32") for each in (folder, tmp_path))
    (mine,), (theirs,) = (model.decode(model.encode(image(size)), list(prompt)) for model in (one, other))
    np.testing.assert_array_equal(mine.logits, theirs.logits)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "sam2", "vision_config": {}},
        {
            "model_type": "sam2",
            "vision_config": {
                "backbone_config": {
                    "model_type": "sam2_hiera_det_model",
                    "hidden_size": 112,
                    "embed_dim_per_stage": [112, 224, 448, 896],
                    "blocks_per_stage": [2, 3, 16, 3],
                    "num_attention_heads_per_stage": [2, 4, 8, 16],
                    "global_attention_blocks": [12, 16, 20],
                    "window_positional_embedding_background_size": [14, 14],
                },
                "backbone_channel_list": [896, 448, 224, 112],
            },
        },
    ],
    ids=["tiny", "base-plus"],
)
def test_the_real_sizes_agree(tmp_path: Path, config: dict[str, object]) -> None:
    write_model(tmp_path, {**config, "prompt_encoder_config": {}, "mask_decoder_config": {}})
    oracle, ours, size = Sam2Oracle(tmp_path), load("a/b", tmp_path, "r", "f32"), Size(600, 400)
    known, embedding = oracle.encode(ours.processor.pixel_values(image(size))), ours.encode(image(size))
    assert embedding.nbytes == 4 * (256 * 64**2 + 64 * 128**2 + 32 * 256**2)
    objects = list(parse_prompt([[[300, 200]], [[100, 100], [20, 20]]], size, [[1], [1, 0]]))
    for mine, prompt in zip(ours.decode(embedding, objects), objects, strict=True):
        theirs = oracle.decode(known, prompt, (1024 / 600, 1024 / 400), None)
        for index in range(len(mine)):
            expected = theirs.logits[4 - len(mine) + index]
            assert relative(mine.logits[index], expected) < 1e-3
            assert iou(mine.logits[index], expected) >= 0.999
