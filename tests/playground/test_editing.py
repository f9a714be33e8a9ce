"""Masks are edited by hand, found without prompts, and suggestions help where the model is not sure."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SIZE = (240, 160)


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    Image.new("RGB", SIZE, (180, 185, 190)).save(tmp_path / "blank.png")
    return tmp_path / "blank.png"


def mask(page: Any, folder: Path) -> Any:
    return np.asarray(Image.open(page.export("mask", folder)))


def tool(page: Any, name: str) -> None:
    page.page.locator(f"input[name=tool][value={name}]").check(force=True)


def brush(page: Any, start: tuple[int, int], end: tuple[int, int]) -> None:
    with page.painted():
        page.drag(start, end)


def test_brush_and_eraser_change_the_mask_and_survive_a_reload(page: Any, blank: Path, tmp_path: Path) -> None:
    page.load(blank)
    tool(page, "brush")
    page.page.locator("#brush-size").evaluate("input => { input.value = 40; input.dispatchEvent(new Event('input')); }")
    radius = 20 / page.scale()
    brush(page, (60, 80), (180, 80))
    painted = mask(page, tmp_path)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    inside = np.hypot(x - np.clip(x, 60, 180), y - 80) <= radius
    assert np.count_nonzero(painted != inside) < 0.01 * np.count_nonzero(inside)
    tool(page, "erase")
    brush(page, (120, 40), (120, 120))
    erased = mask(page, tmp_path)
    assert erased[80, 120] == 0
    assert erased[80, 70] == 1
    assert not np.any(erased > painted)
    page.press("Control+z")
    assert np.array_equal(mask(page, tmp_path), painted)
    page.press("Control+Shift+z")
    # Right button and Shift swap the tools.
    tool(page, "brush")
    page.page.keyboard.down("Shift")
    brush(page, (70, 40), (70, 120))
    page.page.keyboard.up("Shift")
    final = mask(page, tmp_path)
    assert final[80, 70] == 0
    page.page.wait_for_timeout(500)
    page.page.reload()
    page.page.wait_for_selector("#canvas[data-view]")
    assert np.array_equal(mask(page, tmp_path), final)
    assert page.requests == []
    tool(page, "brush")
    with page.painted():
        page.page.click("#drop-islands")
    largest = mask(page, tmp_path)
    assert 0 < np.count_nonzero(largest) < np.count_nonzero(final)


def test_an_edited_mask_of_the_model_stays_and_is_refined_by_a_point(page: Any, tmp_path: Path) -> None:
    page.load()
    page.click(285, 60)
    page.press("n")
    page.click(520, 90)
    page.press("[")
    before = mask(page, tmp_path)
    tool(page, "brush")
    brush(page, (500, 60), (560, 120))
    after = mask(page, tmp_path)
    # The edited object is on top; the rest of it is what the model found.
    assert after[90, 530] == 1
    assert np.array_equal(after[200:, :300] == 1, before[200:, :300] == 1)
    assert "mask_prompts" not in page.requests[-1]
    assert [len(points) for points in page.requests[-1]["segment_prompt"]] == [1]
    coco = json.loads(page.export("rle", tmp_path).read_text())
    assert ["score" in annotation for annotation in coco["annotations"]] == [False, True]
    tool(page, "include")
    page.click(285, 160)
    assert page.requests[-1]["mask_prompts"][0]["size"] == [400, 600]
    assert page.requests[-1]["segment_prompt"][0] == [[285, 160]]


def test_holes_are_filled(page: Any, blank: Path, tmp_path: Path) -> None:
    page.load(blank)
    tool(page, "brush")
    for start, end in (((60, 40), (160, 40)), ((160, 40), (160, 120)), ((160, 120), (60, 120)), ((60, 120), (60, 40))):
        brush(page, start, end)
    assert mask(page, tmp_path)[80, 110] == 0
    with page.painted():
        page.page.click("#fill-holes")
    assert mask(page, tmp_path)[80, 110] == 1
    assert mask(page, tmp_path)[80, 200] == 0


CORNERS = [(40, 30), (200, 40), (190, 130), (50, 120)]


def draw(page: Any, corners: list[tuple[int, int]]) -> None:
    for corner in corners:
        page.page.mouse.click(*page.position(*corner))
    with page.painted():
        page.page.mouse.click(*page.position(*corners[0]))


def test_a_polygon_is_drawn_and_its_corners_are_moved_inserted_and_removed(
    page: Any, blank: Path, tmp_path: Path
) -> None:
    page.load(blank)
    tool(page, "polygon")
    draw(page, CORNERS)
    drawn = mask(page, tmp_path)
    assert drawn[80, 120] == 1
    assert [drawn[y, x] for x, y in ((30, 80), (215, 80), (120, 20), (120, 145))] == [0, 0, 0, 0]
    with page.painted():
        page.drag(CORNERS[0], (10, 5))
    moved = mask(page, tmp_path)
    assert moved[12, 18] == 1
    assert np.array_equal(moved[80:, 120:], drawn[80:, 120:])
    # A press on an edge inserts a corner.
    with page.painted():
        page.drag((195, 85), (230, 85))
    inserted = mask(page, tmp_path)
    assert inserted[85, 222] == 1
    page.page.keyboard.down("Alt")
    with page.painted():
        page.page.mouse.click(*page.position(230, 85))
    page.page.keyboard.up("Alt")
    assert mask(page, tmp_path)[85, 222] == 0
    # With Shift, a polygon is cut out.
    page.page.keyboard.down("Shift")
    draw(page, [(100, 60), (140, 60), (140, 100), (100, 100)])
    page.page.keyboard.up("Shift")
    assert mask(page, tmp_path)[80, 120] == 0
    page.page.wait_for_timeout(500)
    before = mask(page, tmp_path)
    page.page.reload()
    page.page.wait_for_selector("#canvas[data-view]")
    assert np.array_equal(mask(page, tmp_path), before)


def test_masks_are_edited_by_keyboard(page: Any, blank: Path, tmp_path: Path) -> None:
    page.load(blank)
    page.page.focus("#canvas")
    page.press("p", "w", "w", "Enter", "Enter", *["ArrowRight"] * 5)
    with page.painted():
        page.press("Enter")
    stroke = mask(page, tmp_path)
    columns = np.flatnonzero(stroke.any(axis=0))
    rows = np.flatnonzero(stroke.any(axis=1))
    assert len(columns) > 1.5 * len(rows)
    # The focus was on the button that exports.
    page.press("n", "g", "f", "Enter", "Enter", *["ArrowRight"] * 8, "Enter", *["ArrowDown"] * 5, "Enter")
    with page.painted():
        page.press("Shift+Enter")
    both = mask(page, tmp_path)
    assert set(np.unique(both)) == {0, 1, 2}
    # Take hold of the last corner, and move it.
    area = np.count_nonzero(both == 2)
    page.press("f", "Enter", *["ArrowRight"] * 8, *["ArrowDown"] * 5, "Enter", *["ArrowDown"] * 2)
    with page.painted():
        page.press("Enter")
    assert np.count_nonzero(mask(page, tmp_path) == 2) > 1.1 * area


def test_everything_in_the_image_is_found(open_page: Any, tmp_path: Path) -> None:
    page = open_page(connect=False)
    page.page.goto(f"{page.url}/#key={page.key}")
    page.page.wait_for_selector("#model option", state="attached")
    page.load()
    page.page.fill("#new-label", "Thing")
    page.page.press("#new-label", "Enter")
    answers: list[Any] = []
    page.page.on("response", lambda each: each.url.endswith("/segmentations") and answers.append(each.json()))
    with page.painted():
        page.page.click("#everything")
    rows = page.rows()
    assert len(rows) > 4
    assert all("Edited" not in summary for _, summary in rows)
    values = mask(page, tmp_path)
    assert set(np.unique(values)) >= set(range(1, len(rows)))
    # What has been found is not found again, for which the server need not look twice.
    page.page.route("**/v1/images/segmentations", lambda route: route.fulfill(json=answers[0]))
    page.page.click("#everything")
    page.page.wait_for_function("() => !document.querySelector('#everything').hasAttribute('aria-busy')")
    assert page.rows() == rows


def test_a_model_that_cannot_find_everything_says_so(page: Any) -> None:
    page.allow_failed_requests = True
    page.load()
    page.page.click("#everything")
    page.page.wait_for_selector("#notice:visible")
    assert "maskery/grabcut" in page.page.inner_text("#notice-text")


def fulfil_score(page: Any, score: float) -> None:
    """Answer requests with the server's response, with another score."""

    def handle(route: Any) -> None:
        response = route.fetch()
        body = response.json()
        for segment in body["data"][0]["segments"]:
            segment["score"] = score
        route.fulfill(response=response, json=body)

    page.page.unroute("**/v1/images/segmentations")
    page.page.route("**/v1/images/segmentations", handle)


def test_a_box_is_suggested_where_the_model_is_not_sure(page: Any) -> None:
    page.load()
    fulfil_score(page, 0.9)
    page.click(285, 60)
    assert page.page.is_hidden("#guidance")
    fulfil_score(page, 0.3)
    page.press("n")
    page.click(130, 200)
    page.page.wait_for_selector("#guidance:visible")
    page.page.click("#guidance-action")
    assert page.page.is_checked("input[value=box]")
    assert page.page.is_hidden("#guidance")
    with page.painted():
        page.drag((80, 60), (460, 380))
    assert page.page.is_hidden("#guidance")


def test_a_click_far_from_the_mask_can_be_made_a_new_object(page: Any) -> None:
    page.load()
    fulfil_score(page, 0.8)
    page.click(285, 60)
    fulfil_score(page, 0.4)
    page.click(560, 370)
    page.page.wait_for_selector("#guidance:visible")
    assert "another object" in page.page.inner_text("#guidance-text")
    with page.painted():
        page.page.click("#guidance-action")
    assert page.requests[-1]["segment_prompt"] == [[[285, 60]], [[560, 370]]]


def test_the_brush_works_at_full_resolution_on_large_images(page: Any, tmp_path: Path) -> None:
    width, height = 2400, 1600
    file = io.BytesIO()
    pixels = np.full((height, width, 3), 200, np.uint8)
    pixels[400:1200, 500:1500] = (200, 40, 40)
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    (tmp_path / "large.jpg").write_bytes(file.getvalue())
    page.load(tmp_path / "large.jpg")
    page.click(900, 800)
    before = mask(page, tmp_path)
    tool(page, "brush")
    brush(page, (1700, 300), (2000, 300))
    after = mask(page, tmp_path)
    assert after.shape == (height, width)
    assert after[300, 1850] == 1
    # The mask of the model was taken at full resolution.
    assert np.array_equal(after[600:], before[600:])
