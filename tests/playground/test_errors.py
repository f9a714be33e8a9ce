"""Errors: what the page says, and how it recovers."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.conftest import restarted

CUP = (285, 60)


def test_the_key_is_removed_from_the_url(page: Any) -> None:
    assert page.page.url == f"{page.url}/"
    page.page.reload()
    page.page.wait_for_selector("#model option", state="attached")


def test_the_page_asks_for_a_key_and_refuses_a_wrong_one(open_page: Any) -> None:
    page = open_page(connect=False)
    page.allow_failed_requests = True
    page.page.goto(page.url)
    page.page.wait_for_selector("#key-dialog[open]")
    assert page.errors == []
    page.page.fill("#key-field", "mk_wrong")
    page.page.click("#key-submit")
    page.page.wait_for_selector("#key-error:visible")
    assert "not valid" in page.page.inner_text("#key-error")
    page.page.fill("#key-field", page.key)
    page.page.press("#key-field", "Enter")
    page.page.wait_for_selector("#key-dialog", state="hidden")
    page.load()
    page.click(*CUP)


def test_after_the_key_dialog_is_cancelled_the_next_request_asks_again(open_page: Any) -> None:
    page = open_page(connect=False)
    page.page.goto(page.url)
    page.page.wait_for_selector("#key-dialog[open]")
    page.page.click("#key-cancel")
    page.page.wait_for_selector("#notice:visible")
    assert page.page.inner_text("#notice-title") == "No API key."
    page.page.click("#notice-action")
    page.page.click("#key-cancel")
    page.load()
    page.click(*CUP, wait=False)
    page.page.wait_for_selector("#key-dialog[open]")
    page.press("Escape")
    page.page.wait_for_selector("#key-dialog", state="hidden")
    assert page.rows() == [("Object 1", "No mask yet")]
    # So does an export.
    page.page.click("#export-mask")
    page.page.fill("#key-field", page.key)
    with page.painted():
        page.page.click("#key-submit")
    assert page.requests[-1]["segment_prompt"] == [[list(CUP)]]
    assert page.page.is_hidden("#notice")
    assert "px" in page.rows()[0][1]


def test_cancelling_a_change_of_the_key_keeps_the_current_one(page: Any) -> None:
    page.load()
    page.page.click("#key-button")
    page.page.click("#key-cancel")
    page.page.wait_for_selector("#key-dialog", state="hidden")
    page.click(*CUP)
    assert page.page.is_hidden("#notice")


def test_a_link_with_a_key_in_an_open_tab_closes_the_dialog(open_page: Any) -> None:
    page = open_page(connect=False)
    page.page.goto(page.url)
    page.page.wait_for_selector("#key-dialog[open]")
    page.page.click("#key-cancel")
    page.load()
    page.click(*CUP, wait=False)
    page.page.wait_for_selector("#key-dialog[open]")
    with page.painted():
        page.page.evaluate("key => { location.hash = `key=${key}`; }", page.key)
    assert page.page.is_hidden("#key-dialog")
    assert page.page.is_hidden("#notice")
    assert page.page.url == f"{page.url}/"
    assert "px" in page.rows()[0][1]


def test_a_link_with_a_wrong_key_does_not_replace_a_valid_one(page: Any) -> None:
    page.allow_failed_requests = True
    page.load()
    page.page.evaluate("location.hash = 'key=mk_wrong'")
    page.page.wait_for_selector("#key-dialog[open]")
    assert "not valid" in page.page.inner_text("#key-error")
    page.page.click("#key-cancel")
    page.click(*CUP)
    assert page.page.evaluate("sessionStorage.getItem('maskery-key')") == page.key


def test_after_a_new_key_the_refused_request_is_sent_again(page: Any) -> None:
    page.allow_failed_requests = True
    page.load()
    page.click(*CUP)
    key = page.page.evaluate("sessionStorage.getItem('maskery-key')")
    page.page.route(
        "**/v1/images/segmentations",
        lambda route: route.fulfill(
            status=401,
            json={"error": {"message": "The API key is not known.", "code": "wrong_key", "type": "", "param": None}},
        ),
        times=1,
    )
    page.click(285, 160, wait=False)
    page.page.wait_for_selector("#key-dialog[open]")
    assert page.page.inner_text("#key-error") == "The API key is not known."
    page.page.fill("#key-field", key)
    with page.painted():
        page.page.click("#key-submit")
    assert len(page.requests[-1]["segment_prompt"][0]) == 2


@pytest.fixture(scope="module")
def anonymous_server(start_server: Callable[..., Any]) -> Any:
    server = start_server(anonymous="true", max_image_pixels="300000")
    return SimpleNamespace(url=server.url, key="")


def test_an_anonymous_server_needs_no_key(open_page: Any, anonymous_server: Any) -> None:
    page = open_page(at=anonymous_server)
    assert page.page.locator("#key-button").is_hidden()
    page.load()
    page.click(*CUP)
    page.page.click("#export-code")
    assert "AIR_API_KEY" not in page.page.inner_text("#code-text")


def test_the_image_is_uploaded_again_after_a_restart_of_the_server(
    open_page: Any, start_server: Callable[..., Any]
) -> None:
    first = start_server()
    page = open_page(at=first)
    page.allow_failed_requests = True
    page.load()
    page.click(*CUP)
    first.process.terminate()
    first.process.wait(20)
    page.click(285, 160, wait=False)
    page.page.wait_for_selector("#notice:visible")
    assert "does not respond" in page.page.inner_text("#notice-title")
    with restarted(first):
        # Retry now. The page may just have done that itself, and hidden the button.
        page.page.evaluate("document.querySelector('#notice-action').click()")
        page.page.wait_for_selector("#notice", state="hidden")
        page.page.wait_for_function("() => !document.querySelector('.summary').textContent.includes('…')")
        page.click(300, 140)
        assert len(page.requests[-1]["segment_prompt"][0]) == 3


def test_an_image_that_the_server_has_dropped_is_uploaded_again(page: Any) -> None:
    page.allow_failed_requests = True
    page.load()
    page.click(*CUP)
    image = page.requests[-1]["image_prompt"].removeprefix("id:")
    headers = {"Authorization": f"Bearer {page.key}"}
    assert httpx.delete(f"{page.url}/v1/images/{image}", headers=headers).status_code == 204
    page.click(285, 160)
    assert page.requests[-1]["image_prompt"] != f"id:{image}"
    assert page.page.locator("#notice").is_hidden()


def test_a_request_to_a_busy_server_is_retried_after_the_delay_that_it_names(page: Any) -> None:
    page.allow_failed_requests = True
    page.load()
    page.click(*CUP)
    busy = {"message": "The server is busy: 9 requests wait.", "code": "busy", "type": "server_error", "param": None}
    page.page.route(
        "**/v1/images/segmentations",
        lambda route: route.fulfill(status=503, headers={"Retry-After": "1"}, json={"error": busy}),
        times=1,
    )
    with page.painted():
        page.click(285, 160, wait=False)
        page.page.wait_for_selector("#notice[data-kind=retrying]:visible")
        assert busy["message"] in page.page.inner_text("#notice-text")
    page.page.wait_for_selector("#notice", state="hidden")


def test_an_error_shows_the_message_of_the_server_and_can_be_retried(page: Any) -> None:
    page.allow_failed_requests = True
    page.load()
    late = {"message": "The answer was not there in time.", "code": "deadline_exceeded", "type": "", "param": None}
    page.page.route(
        "**/v1/images/segmentations", lambda route: route.fulfill(status=504, json={"error": late}), times=1
    )
    page.click(*CUP, wait=False)
    page.page.wait_for_selector("#notice:visible")
    assert late["message"] in page.page.inner_text("#notice-text")
    with page.painted():
        page.page.click("#notice-action")


@pytest.mark.parametrize("name", ["letter.txt", "broken.png"])
def test_a_file_that_is_not_an_image_is_refused(page: Any, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x89PNG\r\n\x1a\n this is none")
    page.page.set_input_files("#file", path)
    page.page.wait_for_selector("#notice:visible")
    assert page.page.inner_text("#notice-text") == (
        f"This browser cannot display {name}. Use a JPEG, PNG, WebP, AVIF or GIF file."
    )


def test_an_image_over_the_limit_of_the_server_is_refused_with_its_message(
    open_page: Any, anonymous_server: Any, tmp_path: Path
) -> None:
    page = open_page(at=anonymous_server)
    page.allow_failed_requests = True
    Image.new("RGB", (1000, 400)).save(tmp_path / "large.png")
    page.load(tmp_path / "large.png")
    page.page.wait_for_selector("#notice:visible")
    assert page.page.inner_text("#notice-title") == "Too large."
    assert "300,000" in page.page.inner_text("#notice-text")
