"""Prompts by mouse and touch: points, boxes, candidates, undo."""

import json
import re
from typing import Any

import pytest

CUP, COFFEE, TABLE = (285, 60), (285, 160), (520, 90)


def painted(page: Any, x: int, y: int) -> bool:
    """Whether a mask is painted at a pixel: hiding all objects changes its colour."""
    before = page.pixel(x, y)
    for button in page.page.locator("#objects button[aria-label^=Hide]").all():
        button.click()
    after = page.pixel(x, y)
    for button in page.page.locator("#objects button[aria-label^=Hide]").all():
        button.click()
    return bool(before != after)


def test_a_click_paints_a_mask_where_the_api_finds_the_object(page: Any) -> None:
    page.load()
    page.click(*CUP)
    [(name, summary)] = page.rows()
    assert name == "Object 1"
    assert "px" in summary
    assert 0 < page.scores()[0] <= 1
    assert painted(page, *COFFEE)
    assert not painted(page, *TABLE)


def test_further_clicks_refine_the_object_and_n_starts_another(page: Any) -> None:
    page.load()
    page.click(*CUP)
    page.click(*COFFEE)
    assert page.requests[-1]["segment_prompt"] == [[list(CUP), list(COFFEE)]]
    page.press("n")
    page.click(*TABLE)
    assert page.requests[-1]["segment_prompt"] == [[list(CUP), list(COFFEE)], [list(TABLE)]]
    assert [name for name, _ in page.rows()] == ["Object 1", "Object 2"]
    assert "point_labels" not in page.requests[-1]


def test_shift_click_right_click_and_the_exclude_tool_add_negative_points(page: Any) -> None:
    page.load()
    page.click(*CUP)
    page.click(*COFFEE, shift=True)
    assert page.requests[-1]["point_labels"] == [[1, 0]]
    page.click(300, 140, button="right")
    page.press("e")
    page.click(260, 150)
    page.click(285, 35, shift=True)
    assert page.requests[-1]["point_labels"] == [[1, 0, 0, 0, 1]]


def test_a_drag_draws_a_box(page: Any) -> None:
    page.load()
    with page.painted():
        page.drag((170, 20), (420, 210))
    [box] = page.requests[-1]["boxes"]
    assert box == pytest.approx([170, 20, 420, 210], abs=1)
    assert page.requests[-1]["segment_prompt"] == [[]]


def test_points_can_be_dragged_and_removed(page: Any) -> None:
    page.load()
    page.click(*CUP)
    with page.painted():
        page.drag(CUP, COFFEE)
    assert page.requests[-1]["segment_prompt"] == [[list(COFFEE)]]
    page.page.keyboard.down("Alt")
    with page.painted():
        page.click(*COFFEE, wait=False)
    page.page.keyboard.up("Alt")
    assert [summary for _, summary in page.rows()] == ["Click on it in the image"]


def test_undo_and_redo_show_cached_masks(page: Any) -> None:
    page.load()
    page.click(*CUP)
    first = page.rows()
    page.click(*COFFEE, shift=True)
    second = page.rows()
    requests = len(page.requests)
    with page.painted():
        page.press("Control+z")
    assert page.rows() == first
    with page.painted():
        page.press("Control+Shift+z")
    assert page.rows() == second
    with page.painted():
        page.press("Control+z")
        page.press("Control+z")
    assert page.rows() == []
    assert len(page.requests) == requests


def test_objects_are_named_hidden_and_deleted(page: Any) -> None:
    page.load()
    page.click(*CUP)
    page.press("n")
    page.click(*TABLE)
    field = page.page.locator(".name").first
    field.fill("Cup")
    field.press("Enter")
    requests = len(page.requests)
    page.page.get_by_role("button", name="Hide Cup").click()
    assert not page.page.locator("#objects > li").first.evaluate("row => !row.classList.contains('is-hidden')")
    assert len(page.requests) == requests
    with page.painted():
        page.page.get_by_role("button", name="Delete Cup").click()
    assert [name for name, _ in page.rows()] == ["Object 2"]
    assert page.requests[-1]["segment_prompt"] == [[list(TABLE)]]


def test_objects_with_the_same_mask_are_reported(page: Any) -> None:
    page.load()
    page.click(285, 150)
    page.press("n")
    page.click(300, 130)
    assert page.rows()[1][1] == "Same as Object 1"


def test_a_selected_candidate_becomes_the_mask_prompt(page: Any) -> None:
    page.load()
    page.click(365, 280)
    page.page.click("#candidates summary")
    page.page.wait_for_selector(".candidate")
    candidates = page.page.locator(".candidate")
    assert candidates.count() == 3
    with page.painted():
        candidates.nth(1).click()
    assert candidates.nth(1).get_attribute("aria-pressed") == "true"
    [mask_prompt] = page.requests[-1]["mask_prompts"]
    assert mask_prompt["size"] == [400, 600]
    with page.painted():
        candidates.nth(1).click()
    assert candidates.nth(1).get_attribute("aria-pressed") == "false"


def test_the_built_in_network_is_the_default_model(open_page: Any) -> None:
    page = open_page(connect=False)
    page.page.goto(f"{page.url}/#key={page.key}")
    page.page.wait_for_selector("#model option", state="attached")
    assert page.page.input_value("#model") == "maskery/nano"


def test_the_prompt_is_sent_to_another_model(page: Any) -> None:
    page.load()
    page.click(*CUP)
    first = page.requests[-1]
    with page.page.expect_request(re.compile(r"/v1/images$")), page.painted():
        page.page.select_option("#model", "acme/other")
    second = page.requests[-1]
    assert (first["model"], second["model"]) == ("maskery/grabcut", "acme/other")
    assert first["segment_prompt"] == second["segment_prompt"]


def test_a_late_response_is_ignored(page: Any) -> None:
    page.load()
    held: list[Any] = []

    def hold(route: Any) -> None:
        if len(json.loads(route.request.post_data)["segment_prompt"][0]) == 1:
            held.append(route)
        else:
            route.continue_()

    page.page.route("**/v1/images/segmentations", hold)
    page.click(*TABLE, wait=False)
    page.click(*CUP)
    rows = page.rows()
    for route in held:
        response = {"data": [{"b64_json": "", "width": 1, "height": 1, "segments": []}]}
        route.fulfill(json=response)
    page.settle()
    assert page.rows() == rows
    assert "px" in rows[0][1]


def test_progress_is_shown_while_the_server_is_slow(page: Any) -> None:
    page.load()
    held: list[Any] = []
    page.page.route("**/v1/images/segmentations", lambda route: held.append(route))  # noqa: PLW0108 - Playwright takes no builtin
    page.click(*CUP, wait=False)
    page.page.wait_for_selector("#busy:visible")
    assert page.page.inner_text("#busy-text").startswith("Segmenting")
    with page.painted():
        held[0].continue_()
    page.page.wait_for_selector("#busy", state="hidden")


def test_zoom_and_pan_do_not_change_coordinates(page: Any) -> None:
    page.load()
    page.page.mouse.move(*page.position(300, 200))
    page.page.mouse.wheel(0, -600)
    page.press("m")
    page.drag((300, 200), (270, 190))
    page.press("i")
    page.click(290, 180)
    [[[x, y]]] = page.requests[-1]["segment_prompt"]
    assert (x, y) == (290, 180)
    page.press("0")
    page.click(350, 170)
    assert page.requests[-1]["segment_prompt"][0][1] == [350, 170]


def test_two_fingers_zoom_and_one_adds_points(open_page: Any) -> None:
    page = open_page(has_touch=True, viewport={"width": 390, "height": 844}, is_mobile=True)
    page.load()
    fitted = page.scale()
    session = page.page.context.new_cdp_session(page.page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    x, y = page.position(300, 200)
    touch("touchStart", (x - 20, y), (x + 20, y))
    for step in range(1, 9):
        touch("touchMove", (x - 20 - 6 * step, y), (x + 20 + 6 * step, y))
    touch("touchEnd")
    page.settle()
    assert page.scale() > 2 * fitted
    assert page.requests == []
    with page.painted():
        page.page.touchscreen.tap(*page.position(300, 200))
    page.page.locator("input[value=exclude]").tap()
    with page.painted():
        page.page.touchscreen.tap(*page.position(310, 180))
    assert page.requests[-1]["segment_prompt"] == [[[300, 200], [310, 180]]]
    assert page.requests[-1]["point_labels"] == [[1, 0]]
