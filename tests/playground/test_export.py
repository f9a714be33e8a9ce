"""What is taken away agrees with the API's own answer to the same prompt."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from maskery import playground

PICTURE = Path(playground.__file__).parent / "samples" / "coffee.jpg"
SIZE = (600, 400)


@pytest.fixture
def asked(page: Any) -> Any:
    """A page with two objects and a point that is on neither, the second one named."""
    page.load()
    page.click(285, 60)
    page.click(285, 330, shift=True)
    page.press("n")
    with page.answered():
        page.drag((330, 225), (420, 320))
    page.page.locator(".name").last.fill("Spoon")
    page.page.locator(".name").last.press("Enter")
    return page


def values(mask: dict[str, Any]) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(mask["b64_json"]))))


def test_the_mask_is_the_servers_own_png(asked: Any, tmp_path: Path) -> None:
    path = asked.take("take-mask", tmp_path)
    assert path.name == "coffee-mask.png"
    assert path.read_bytes() == base64.b64decode(asked.api(PICTURE.read_bytes())["b64_json"])


def test_the_cutout_is_transparent_where_the_mask_is_0(asked: Any, tmp_path: Path) -> None:
    cutout = np.asarray(Image.open(asked.take("take-cutout", tmp_path)))
    inside = values(asked.api(PICTURE.read_bytes())) > 0
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert np.array_equal(cutout[..., 3], np.where(inside[window], 255, 0))
    photo = np.asarray(Image.open(PICTURE).convert("RGB"))[window]
    # Two decoders of JPEG differ a little.
    assert np.abs(cutout[..., :3].astype(int) - photo)[inside[window]].max() <= 8


def test_hidden_objects_are_left_out_of_the_cutout(asked: Any, tmp_path: Path) -> None:
    asked.page.get_by_role("button", name="Hide Object 1").click()
    cutout = Image.open(asked.take("take-cutout", tmp_path))
    spoon = values(asked.api(PICTURE.read_bytes())) == 2
    assert np.count_nonzero(np.asarray(cutout)[..., 3]) == np.count_nonzero(spoon)


def test_the_overlay_colours_the_objects_and_nothing_else(asked: Any, tmp_path: Path) -> None:
    overlay = Image.open(asked.take("take-overlay", tmp_path)).convert("RGB")
    assert overlay.size == SIZE
    mask = values(asked.api(PICTURE.read_bytes()))
    changed = np.abs(np.asarray(overlay).astype(int) - np.asarray(Image.open(PICTURE).convert("RGB"))).max(axis=2) > 12
    far = np.asarray(Image.fromarray((mask > 0).astype(np.uint8) * 255).resize((75, 50)).resize(SIZE)) > 0
    assert changed[mask > 0].mean() > 0.97
    assert not changed[~far].any()


# pycocotools' own arrays are older than NumPy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("button", ["take-rle", "take-polygons"])
def test_coco_json_holds_the_masks(asked: Any, tmp_path: Path, button: str) -> None:
    found = json.loads(asked.take(button, tmp_path).read_text())
    answer = asked.api(PICTURE.read_bytes())
    mask = values(answer)
    assert found["images"] == [{"id": 1, "file_name": "coffee.jpg", "width": 600, "height": 400}]
    assert [category["name"] for category in found["categories"]] == ["Object 1", "Spoon"]
    assert len(found["annotations"]) == 2
    for annotation, segment in zip(found["annotations"], answer["segments"], strict=True):
        assert annotation["area"] == segment["area"]
        assert annotation["bbox"] == segment["bbox"]
        assert annotation["score"] == segment["score"]
        encoded = annotation["segmentation"]
        if isinstance(encoded, list):
            encoded = coco.merge(coco.frPyObjects(encoded, 400, 600))
        assert np.array_equal(coco.decode(encoded) > 0, mask == segment["value"])


def code(page: Any, language: str) -> str:
    page.page.click("#take-code")
    page.page.locator(f"input[value={language}]").check(force=True)
    text: str = page.page.inner_text("#code-text")
    page.page.keyboard.press("Escape")
    return text


def run(page: Any, folder: Path, *command: str) -> None:
    shutil.copy(PICTURE, folder / "coffee.jpg")
    environment = {**os.environ, "AIR_API_KEY": page.key}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_python_code_makes_the_same_mask(asked: Any, tmp_path: Path) -> None:
    run(asked, tmp_path, sys.executable, "-W", "error", "-c", code(asked, "python"))
    expected = values(asked.api(PICTURE.read_bytes()))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "coffee-mask.png")), expected)
    with Image.open(tmp_path / "coffee-overlay.png") as overlay:
        assert overlay.size == SIZE


@pytest.mark.skipif(not shutil.which("jq"), reason="The command that is shown pipes into jq, which is not installed.")
def test_the_curl_command_makes_the_same_mask(asked: Any, tmp_path: Path) -> None:
    run(asked, tmp_path, "bash", "-euo", "pipefail", "-c", code(asked, "curl"))
    expected = base64.b64decode(asked.api(PICTURE.read_bytes())["b64_json"])
    assert (tmp_path / "coffee-mask.png").read_bytes() == expected


def test_the_code_shows_no_key_and_starts_from_the_reading_that_was_picked(asked: Any, tmp_path: Path) -> None:
    asked.page.click("#readings summary")
    asked.page.wait_for_selector(".reading")
    with asked.answered():
        asked.page.locator(".reading").last.click()
    python = code(asked, "python")
    assert asked.key not in python
    assert "mask_prompts=[None, {" in python
    run(asked, tmp_path, sys.executable, "-c", python)
    expected = values(asked.api(PICTURE.read_bytes()))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "coffee-mask.png")), expected)
