"""Exported files agree with the API's response to the same prompt."""

import base64
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco

from maskery import playground

IMAGE = Path(playground.__file__).parent / "samples" / "coffee.jpg"
SIZE = (600, 400)


def prompt(page: Any) -> None:
    """Segment two objects: the first has a negative point, the second a label."""
    page.load()
    page.click(285, 60)
    page.click(285, 330, shift=True)
    page.press("n")
    with page.painted():
        page.drag((330, 225), (420, 320))
    page.page.locator(".name").last.fill("Spoon")
    page.page.locator(".name").last.press("Enter")


@pytest.fixture(scope="module")
def prompted(shared_page: Any) -> Any:
    prompt(shared_page)
    return shared_page


@pytest.fixture(scope="module")
def expected(prompted: Any) -> dict[str, Any]:
    """The API's response to the same prompt."""
    response: dict[str, Any] = prompted.api(IMAGE.read_bytes())
    return response


def values(mask: dict[str, Any]) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(mask["b64_json"]))))


def test_the_mask_is_the_png_of_the_response(prompted: Any, expected: Any, tmp_path: Path) -> None:
    path = prompted.export("mask", tmp_path)
    assert path.name == "coffee-mask.png"
    assert path.read_bytes() == base64.b64decode(expected["b64_json"])


def test_the_cutout_is_transparent_where_the_mask_is_0(prompted: Any, expected: Any, tmp_path: Path) -> None:
    cutout = np.asarray(Image.open(prompted.export("cutout", tmp_path)))
    inside = values(expected) > 0
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert np.array_equal(cutout[..., 3], np.where(inside[window], 255, 0))
    photo = np.asarray(Image.open(IMAGE).convert("RGB"))[window]
    # JPEG decoders differ slightly.
    assert np.abs(cutout[..., :3].astype(int) - photo)[inside[window]].max() <= 8


def test_the_cutout_has_no_hidden_objects(prompted: Any, expected: Any, tmp_path: Path) -> None:
    prompted.page.get_by_role("button", name="Hide Object 1").click()
    cutout = Image.open(prompted.export("cutout", tmp_path))
    spoon = values(expected) == 2
    prompted.page.get_by_role("button", name="Hide Object 1").click()
    assert np.count_nonzero(np.asarray(cutout)[..., 3]) == np.count_nonzero(spoon)


def test_the_overlay_colours_the_objects_only(prompted: Any, expected: Any, tmp_path: Path) -> None:
    overlay = Image.open(prompted.export("overlay", tmp_path)).convert("RGB")
    assert overlay.size == SIZE
    mask = values(expected)
    changed = np.abs(np.asarray(overlay).astype(int) - np.asarray(Image.open(IMAGE).convert("RGB"))).max(axis=2) > 12
    far = np.asarray(Image.fromarray((mask > 0).astype(np.uint8) * 255).resize((75, 50)).resize(SIZE)) > 0
    assert changed[mask > 0].mean() > 0.97
    assert not changed[~far].any()


# pycocotools uses arrays in a way that NumPy 2 deprecates.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("encoding", ["rle", "polygons"])
def test_coco_json_holds_the_masks(prompted: Any, expected: Any, tmp_path: Path, encoding: str) -> None:
    path = prompted.export(encoding, tmp_path)
    assert path.name == f"coffee-coco-{encoding}.json"
    exported = json.loads(path.read_text())
    mask = values(expected)
    assert exported["images"] == [{"id": 1, "file_name": "coffee.jpg", "width": 600, "height": 400}]
    assert exported["categories"] == [{"id": 1, "name": "Spoon"}, {"id": 2, "name": "object"}]
    assert [annotation["category_id"] for annotation in exported["annotations"]] == [2, 1]
    for annotation, segment in zip(exported["annotations"], expected["segments"], strict=True):
        assert annotation["area"] == segment["area"]
        assert annotation["bbox"] == segment["bbox"]
        assert annotation["score"] == segment["score"]
        encoded = annotation["segmentation"]
        if encoding == "rle":
            assert np.array_equal(coco.decode(encoded) > 0, mask == segment["value"])
        else:
            # Simplified by up to one pixel.
            assert sum(map(len, encoded)) < 400
            decoded = coco.decode(coco.merge(coco.frPyObjects(encoded, 400, 600))) > 0
            assert iou(decoded, mask == segment["value"]) > 0.97


def iou(one: Any, other: Any) -> float:
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


def test_yolo_files_hold_the_objects(prompted: Any, expected: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(prompted.export("yolo", tmp_path)) as archive:
        assert archive.testzip() is None
        assert '0: "Spoon"\n  1: "object"' in archive.read("data.yaml").decode()
        lines = archive.read("labels/coffee.txt").decode().splitlines()
    assert [line.split()[0] for line in lines] == ["1", "0"]
    for line, segment in zip(lines, expected["segments"], strict=True):
        corners = np.array(line.split()[1:], float).reshape(-1, 2) * SIZE
        drawing = Image.new("1", SIZE)
        ImageDraw.Draw(drawing).polygon([tuple(corner) for corner in corners], fill=1)
        assert iou(np.asarray(drawing), values(expected) == segment["value"]) > 0.95


def test_the_python_code_makes_the_same_mask(prompted: Any, expected: Any, tmp_path: Path) -> None:
    shutil.copy(IMAGE, tmp_path)
    prompted.run_python(tmp_path)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "coffee-mask.png")), values(expected))
    with Image.open(tmp_path / "coffee-overlay.png") as overlay:
        assert overlay.size == SIZE


def test_the_curl_command_makes_the_same_mask(prompted: Any, expected: Any, tmp_path: Path) -> None:
    shutil.copy(IMAGE, tmp_path)
    prompted.run_curl(tmp_path)
    assert (tmp_path / "coffee-mask.png").read_bytes() == base64.b64decode(expected["b64_json"])


def test_the_code_contains_the_selected_candidate_but_no_key(page: Any, tmp_path: Path) -> None:
    prompt(page)
    page.page.click("#candidates summary")
    page.page.wait_for_selector(".candidate")
    with page.painted():
        page.page.locator(".candidate").last.click()
    python = page.code("python")
    assert page.key not in python
    assert "mask_prompts=[None, {" in python
    shutil.copy(IMAGE, tmp_path)
    page.run_python(tmp_path)
    mask = np.asarray(Image.open(tmp_path / "coffee-mask.png"))
    assert np.array_equal(mask, values(page.api(IMAGE.read_bytes())))
