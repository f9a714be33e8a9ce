"""SAM 2 and EdgeTAM against what transformers computes, kept by `make golden`; their configurations; their choices."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sam_cases import SIZES, image, prompts
from sam_folders import config, write_model

from maskery.models.sam.config import UnsupportedModel
from maskery.models.sam2.config import Sam2Config
from maskery.models.sam2.encoder import nested_order
from maskery.models.sam2.model import load
from maskery.segmentation import parse_prompt, segment

GOLDEN = np.load(Path(__file__).with_name("golden-sam2.npz"))
SIZE = SIZES[1]


@pytest.fixture(scope="module", params=["sam2", "edgetam"])
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(architecture: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp(architecture), architecture, seed=1)


def test_every_candidate_equals_that_of_transformers(folder: Path, architecture: str) -> None:
    model = load("a/b", folder, "r", "f32")
    embedding = model.encode(image(SIZE))
    expected, expected_scores = (GOLDEN[f"{architecture}-{what}"] for what in ("logits", "scores"))
    candidates = [each for objects in prompts(SIZE) for each in model.decode(embedding, objects)]
    assert len(candidates) == len(expected)
    for mine, logits, scores in zip(candidates, expected, expected_scores, strict=True):
        first = 4 - len(mine)
        assert np.linalg.norm(mine.logits - logits[first:]) < 1e-3 * np.linalg.norm(logits[first:])
        np.testing.assert_allclose(mine.scores, scores[first:], atol=1e-4)


@pytest.mark.parametrize(("logit", "order"), [(5.0, [0, 3, 1, 2]), (-5.0, [0, 3, 1, 2]), (0.04, [3, 1, 2])])
def test_an_unstable_single_mask_is_replaced(folder: Path, logit: float, order: list[int]) -> None:
    model = load("a/b", folder, "r", "f32")
    logits = np.full((1, 4, 2, 2), logit, np.float32) + np.arange(4, dtype=np.float32)[:, None, None] / 1000
    outputs = {"logits": logits, "scores": np.array([[0.5, 0.7, 0.6, 0.8]], np.float32)}
    (box,) = parse_prompt(None, SIZE, boxes=[[5, 5, 60, 60]])
    np.testing.assert_array_equal(model.choose(box, outputs, 0)[0], logits[0, order])
    (point,) = parse_prompt([[[10, 10]]], SIZE)
    np.testing.assert_array_equal(model.choose(point, outputs, 0)[0], logits[0, [3, 1, 2]])


def test_an_embedding_is_stored_in_half_precision(folder: Path) -> None:
    half, full = (load("a/b", folder, "r", precision).encode(image(SIZE)) for precision in ("bf16", "f32"))
    assert half.nbytes * 2 == full.nbytes == 4 * (16 * 4**2 + 4 * 8**2 + 2 * 16**2)
    assert half.tokens == 16


def test_a_mask_of_the_image_is_answered(folder: Path) -> None:
    result = segment(load("a/b", folder, "r", "bf16"), image(SIZE), parse_prompt([[[3, 3]]], SIZE))
    assert result.masks[0].size == SIZE


def test_cells_are_nested() -> None:
    assert nested_order(2, 1).tolist() == [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]
    assert sorted(nested_order(4, 2)) == list(range(256))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["model_type"], "sam3", "has the model type 'sam3'"),
        (["vision_config", "fpn_top_down_levels"], [1, 2, 3], "fpn_top_down_levels"),
        (["vision_config", "fpn_hidden_size"], 24, "differ"),
        (["vision_config", "backbone_config", "window_size_per_stage"], [6, 4, 14, 7], "windows do not divide"),
        (["vision_config", "backbone_config", "global_attention_blocks"], [3], "attends to the whole image"),
        (["vision_config", "backbone_config", "blocks_per_stage"], [1, 2, 3], "four stages"),
        (["vision_config", "backbone_config", "query_stride"], [4, 4], "query_stride"),
        (["vision_config", "backbone_config", "hidden_act"], "relu", "hidden_act"),
        (["prompt_encoder_config", "image_size"], [64, 32], "only squares"),
        (["prompt_encoder_config", "image_size"], 48, "differ"),
        (["mask_decoder_config", "num_hidden_layers"], 3, "3 layers"),
        (["mask_decoder_config", "num_attention_heads"], "many", "does not describe a network"),
    ],
)
def test_an_unsupported_configuration_is_named(path: list[str], value: Any, message: str) -> None:
    document = config("sam2")
    *parents, last = path
    inner = document
    for name in parents:
        inner = inner[name]
    inner[last] = value
    with pytest.raises(UnsupportedModel, match=message):
        Sam2Config.parse(document)


def test_another_backbone_of_edgetam_is_named() -> None:
    document = config("edgetam")
    document["vision_config"]["backbone_config"] = {"model_type": "timm_wrapper", "architecture": "repvit_m3.dist_in1k"}
    with pytest.raises(UnsupportedModel, match="repvit_m3"):
        Sam2Config.parse(document)
