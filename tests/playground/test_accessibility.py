"""Keyboard, screen readers, small and large screens, reduced motion."""

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"


def test_all_functions_are_available_by_keyboard(open_page: Any, tmp_path: Path) -> None:
    page = open_page(connect=False)
    page.connect("&sample=coffee")
    page.page.wait_for_selector("#canvas[data-view]")
    assert page.page.evaluate("document.activeElement.id") == "canvas"
    page.press("Enter", *["ArrowUp"] * 4)
    with page.painted():
        page.press("Enter")
    [[[x, y]]] = page.requests[-1]["segment_prompt"]
    assert y < 200
    with page.painted():
        page.press("ArrowDown", "Shift+ArrowRight", "Shift+Enter")
    assert page.requests[-1]["point_labels"] == [[1, 0]]
    assert page.requests[-1]["segment_prompt"][0][1][0] == x + 1
    page.press("n", "b", *["ArrowLeft"] * 3, "Enter", *["ArrowRight"] * 6, *["ArrowDown"] * 6)
    with page.painted():
        page.press("Enter")
    assert page.requests[-1]["boxes"][0] is None
    assert page.requests[-1]["boxes"][1][2] > page.requests[-1]["boxes"][1][0] + 20
    assert page.page.inner_text("#live").startswith("Object 2: ")
    page.press("i", "x", "Backspace")
    page.press("Control+z", "Control+z", "Control+Shift+z")
    page.press("[")
    with page.painted():
        page.press("Delete")
    assert len(page.rows()) == 1
    page.press("v", "v", "v", "+", "-", "0", "h", "h")
    page.press("?")
    assert page.page.is_visible("#help-dialog")
    page.press("Escape")
    assert page.page.is_hidden("#help-dialog")
    page.page.focus("#export-mask")
    with page.page.expect_download() as download:
        page.press("Enter")
    assert download.value.suggested_filename == "coffee-mask.png"


def test_announcements_of_actions_are_not_interrupted_by_positions(open_page: Any) -> None:
    page = open_page(connect=False)
    page.connect("&sample=coffee")
    page.page.wait_for_selector("#canvas[data-view]")
    page.page.evaluate(
        """() => {
          window.announced = [];
          const live = document.getElementById('live');
          new MutationObserver(() => announced.push(live.textContent)).observe(live, { childList: true });
        }"""
    )
    page.press("Enter")
    page.page.wait_for_function("() => announced.some(text => /^\\d+, \\d+/.test(text))")
    with page.painted():
        page.press("ArrowUp", "Enter")
    # Longer than the delay after which a position is announced.
    page.page.wait_for_timeout(600)
    announced = page.page.evaluate("announced")
    added = next(index for index, text in enumerate(announced) if text.startswith("Point added at "))
    assert len(announced[added:]) == 2, announced
    assert announced[-1].startswith("Object 1: ")


def test_tab_reaches_all_controls_and_the_focus_is_visible(page: Any) -> None:
    page.load()
    seen = set()
    for _ in range(30):
        page.press("Tab")
        name, style = page.page.evaluate(
            """() => {
                const at = document.activeElement, shown = at.matches('.segmented input') ? at.nextElementSibling : at;
                const name = at === document.body ? '' : at.id || at.name || at.textContent.trim();
                return [name, getComputedStyle(shown).outlineStyle];
            }"""
        )
        seen.add(name)
        assert style != "none" or name == "", name
    assert {"canvas", "view-mode", "tool", "add", "open", "help-button", "everything"} <= seen


def test_shortcuts_are_inactive_while_a_name_is_edited(page: Any) -> None:
    page.load()
    page.click(285, 60)
    page.page.locator(".name").focus()
    page.page.keyboard.type("neb")
    assert len(page.rows()) == 1
    assert page.page.is_checked("input[value=include]")


SCREENS = [(1200, 800), (390, 844), (320, 640), (844, 390), (3840, 2160)]


def test_the_page_fits_all_screens(page: Any) -> None:
    def check() -> None:
        for width, height in SCREENS:
            page.page.set_viewport_size({"width": width, "height": height})
            page.settle()
            assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
            assert page.page.evaluate("document.documentElement.scrollHeight <= innerHeight"), width
            outside = page.page.evaluate(
                """() => [...document.querySelectorAll('button, select, fieldset, h1')].filter((element) => {
                    const { left, right, width } = element.getBoundingClientRect();
                    return width && element.checkVisibility() && (left < -0.5 || right > innerWidth + 0.5);
                }).map((element) => element.id || element.textContent)"""
            )
            assert outside == [], width

    check()
    page.load()
    for point in range(len(SCREENS)):
        page.page.set_viewport_size(dict(zip(("width", "height"), SCREENS[point], strict=True)))
        page.settle()
        page.click(285, 60 + 2 * point)
        assert page.requests[-1]["segment_prompt"][0][-1] == [285, 60 + 2 * point]
        assert "px" in page.rows()[0][1]
    check()


def test_axe_reports_no_violations(open_page: Any) -> None:
    if not AXE.exists():
        pytest.fail("The accessibility check needs axe-core: make page-tools.")
    # Without transitions, in which colours have less contrast for a moment.
    page = open_page(reduced_motion="reduce")
    page.page.evaluate(AXE.read_text())

    def check(state: str) -> None:
        for scheme in ("light", "dark"):
            for width in (1200, 390):
                page.page.emulate_media(color_scheme=scheme)
                page.page.set_viewport_size({"width": width, "height": 800})
                page.settle()
                found = page.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
                violations = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]]
                assert violations == [], (state, scheme, width)

    check("welcome")
    page.load()
    page.click(285, 60)
    page.press("n")
    page.page.click("#candidates summary")
    page.press("[")
    page.page.wait_for_selector(".candidate")
    check("two objects")
    page.page.click("#export-code")
    check("code")
    page.press("Escape", "?")
    page.page.wait_for_selector("#help-dialog[open]")
    check("help")
    page.press("Escape")
    page.page.click("#key-button")
    page.page.click("#key-submit")
    check("key")
    page.page.click("#key-cancel")
    page.page.route("**/segmentations", lambda route: route.fulfill(status=504, json={}))
    page.allow_failed_requests = True
    page.press("n")
    page.click(285, 160, wait=False)
    page.page.wait_for_selector("#notice:visible")
    check("notice")


def test_reduced_motion_disables_animations(open_page: Any) -> None:
    page = open_page(reduced_motion="reduce")
    page.load()
    held: list[Any] = []
    page.page.route("**/v1/images/segmentations", lambda route: held.append(route))  # noqa: PLW0108 - Playwright takes no builtin
    page.click(285, 60, wait=False)
    page.page.wait_for_selector("#busy:visible")
    assert page.page.evaluate("document.getAnimations().length") == 0
    held[0].continue_()
