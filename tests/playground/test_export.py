"""Exported files agree with the API's response to the same prompt."""

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

IMAGE = Path(playground.__file__).parent / "samples" / "coffee.jpg"
SIZE = (600, 400)


@pytest.fixture
def prompted(page: Any) -> Any:
    """A page with two objects, of which the first has a negative point and the second a name."""
    page.load()
    page.click(285, 60)
    page.click(285, 330, shift=True)
    page.press("n")
    with page.painted():
        page.drag((330, 225), (420, 320))
    page.page.locator(".name").last.fill("Spoon")
    page.page.locator(".name").last.press("Enter")
    return page


def values(mask: dict[str, Any]) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(mask["b64_json"]))))


def test_the_mask_is_the_png_of_the_response(prompted: Any, tmp_path: Path) -> None:
    path = prompted.export("mask", tmp_path)
    assert path.name == "coffee-mask.png"
    assert path.read_bytes() == base64.b64decode(prompted.api(IMAGE.read_bytes())["b64_json"])


def test_the_cutout_is_transparent_where_the_mask_is_0(prompted: Any, tmp_path: Path) -> None:
    cutout = np.asarray(Image.open(prompted.export("cutout", tmp_path)))
    inside = values(prompted.api(IMAGE.read_bytes())) > 0
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert np.array_equal(cutout[..., 3], np.where(inside[window], 255, 0))
    photo = np.asarray(Image.open(IMAGE).convert("RGB"))[window]
    # JPEG decoders differ slightly.
    assert np.abs(cutout[..., :3].astype(int) - photo)[inside[window]].max() <= 8


def test_the_cutout_has_no_hidden_objects(prompted: Any, tmp_path: Path) -> None:
    prompted.page.get_by_role("button", name="Hide Object 1").click()
    cutout = Image.open(prompted.export("cutout", tmp_path))
    spoon = values(prompted.api(IMAGE.read_bytes())) == 2
    assert np.count_nonzero(np.asarray(cutout)[..., 3]) == np.count_nonzero(spoon)


def test_the_overlay_colours_the_objects_only(prompted: Any, tmp_path: Path) -> None:
    overlay = Image.open(prompted.export("overlay", tmp_path)).convert("RGB")
    assert overlay.size == SIZE
    mask = values(prompted.api(IMAGE.read_bytes()))
    changed = np.abs(np.asarray(overlay).astype(int) - np.asarray(Image.open(IMAGE).convert("RGB"))).max(axis=2) > 12
    far = np.asarray(Image.fromarray((mask > 0).astype(np.uint8) * 255).resize((75, 50)).resize(SIZE)) > 0
    assert changed[mask > 0].mean() > 0.97
    assert not changed[~far].any()


# pycocotools uses arrays in a way that NumPy 2 deprecates.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("encoding", ["rle", "polygons"])
def test_coco_json_holds_the_masks(prompted: Any, tmp_path: Path, encoding: str) -> None:
    exported = json.loads(prompted.export(encoding, tmp_path).read_text())
    response = prompted.api(IMAGE.read_bytes())
    mask = values(response)
    assert exported["images"] == [{"id": 1, "file_name": "coffee.jpg", "width": 600, "height": 400}]
    assert [category["name"] for category in exported["categories"]] == ["Object 1", "Spoon"]
    assert len(exported["annotations"]) == 2
    for annotation, segment in zip(exported["annotations"], response["segments"], strict=True):
        assert annotation["area"] == segment["area"]
        assert annotation["bbox"] == segment["bbox"]
        assert annotation["score"] == segment["score"]
        encoded = annotation["segmentation"]
        if isinstance(encoded, list):
            encoded = coco.merge(coco.frPyObjects(encoded, 400, 600))
        assert np.array_equal(coco.decode(encoded) > 0, mask == segment["value"])


def code(page: Any, language: str) -> str:
    page.page.click("#export-code")
    page.page.locator(f"input[value={language}]").check(force=True)
    text: str = page.page.inner_text("#code-text")
    page.page.keyboard.press("Escape")
    return text


def run(page: Any, folder: Path, *command: str) -> None:
    shutil.copy(IMAGE, folder / "coffee.jpg")
    environment = {**os.environ, "AIR_API_KEY": page.key}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_python_code_makes_the_same_mask(prompted: Any, tmp_path: Path) -> None:
    run(prompted, tmp_path, sys.executable, "-W", "error", "-c", code(prompted, "python"))
    expected = values(prompted.api(IMAGE.read_bytes()))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "coffee-mask.png")), expected)
    with Image.open(tmp_path / "coffee-overlay.png") as overlay:
        assert overlay.size == SIZE


@pytest.mark.skipif(not shutil.which("jq"), reason="The curl command needs jq.")
def test_the_curl_command_makes_the_same_mask(prompted: Any, tmp_path: Path) -> None:
    run(prompted, tmp_path, "bash", "-euo", "pipefail", "-c", code(prompted, "curl"))
    expected = base64.b64decode(prompted.api(IMAGE.read_bytes())["b64_json"])
    assert (tmp_path / "coffee-mask.png").read_bytes() == expected


def test_the_code_contains_the_selected_candidate_but_no_key(prompted: Any, tmp_path: Path) -> None:
    prompted.page.click("#candidates summary")
    prompted.page.wait_for_selector(".candidate")
    with prompted.painted():
        prompted.page.locator(".candidate").last.click()
    python = code(prompted, "python")
    assert prompted.key not in python
    assert "mask_prompts=[None, {" in python
    run(prompted, tmp_path, sys.executable, "-c", python)
    expected = values(prompted.api(IMAGE.read_bytes()))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "coffee-mask.png")), expected)
