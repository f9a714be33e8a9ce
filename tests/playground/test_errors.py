"""What goes wrong is said in a sentence, with what to do; and what can mend itself does."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

CUP = (285, 60)


def test_the_key_leaves_the_address(page: Any) -> None:
    assert page.page.url == f"{page.url}/"
    page.page.reload()
    page.page.wait_for_selector("#model option", state="attached")


def test_without_a_key_the_page_asks_for_one_and_says_when_it_is_wrong(open_page: Any) -> None:
    page = open_page(visit=False)
    page.expects_refusals = True
    page.page.goto(page.url)
    page.page.wait_for_selector("#key-dialog[open]")
    assert page.errors == []
    page.page.fill("#key-field", "mk_wrong")
    page.page.click("#key-send")
    page.page.wait_for_selector("#key-why:visible")
    assert "does not know this key" in page.page.inner_text("#key-why")
    page.page.fill("#key-field", page.key)
    page.page.press("#key-field", "Enter")
    page.page.wait_for_selector("#key-dialog", state="hidden")
    page.load()
    page.click(*CUP)


def test_a_key_that_stops_working_is_asked_for_and_the_click_is_not_lost(page: Any) -> None:
    page.expects_refusals = True
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
    assert page.page.inner_text("#key-why") == "The API key is not known."
    page.page.fill("#key-field", key)
    with page.answered():
        page.page.click("#key-send")
    assert len(page.requests[-1]["segment_prompt"][0]) == 2


def test_an_anonymous_server_is_asked_without_a_key(open_page: Any, start_server: Any) -> None:
    server = start_server(anonymous="true")
    page = open_page(at=type(server)(server.url, "", server.process, server.home))
    assert page.page.locator("#key-button").is_hidden()
    page.load()
    page.click(*CUP)
    page.page.click("#take-code")
    assert "AIR_API_KEY" not in page.page.inner_text("#code-text")


def test_a_server_that_was_started_again_is_given_the_picture_again(
    open_page: Any, start_server: Callable[..., Any]
) -> None:
    first = start_server()
    page = open_page(at=first)
    page.expects_refusals = True
    page.load()
    page.click(*CUP)
    first.process.terminate()
    first.process.wait(20)
    page.click(285, 160, wait=False)
    page.page.wait_for_selector("#notice:visible")
    assert "does not answer" in page.page.inner_text("#notice-title")
    port = first.url.rpartition(":")[2]
    command = [sys.executable, "-m", "maskery", "serve", "--port", port]
    environment = {**os.environ, "MASKERY_HOME": str(first.home)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as second:
        try:
            page.page.wait_for_selector("#notice", state="hidden")
            page.page.wait_for_function("() => !document.querySelector('.said').textContent.includes('…')")
            page.click(300, 140)
            assert len(page.requests[-1]["segment_prompt"][0]) == 3
        finally:
            second.terminate()


def test_a_picture_that_the_server_has_forgotten_is_sent_again(page: Any) -> None:
    page.expects_refusals = True
    page.load()
    page.click(*CUP)
    picture = page.requests[-1]["image_prompt"].removeprefix("id:")
    headers = {"Authorization": f"Bearer {page.key}"}
    assert httpx.delete(f"{page.url}/v1/images/{picture}", headers=headers).status_code == 204
    page.click(285, 160)
    assert page.requests[-1]["image_prompt"] != f"id:{picture}"
    assert page.page.locator("#notice").is_hidden()


def test_a_busy_server_is_asked_again_when_it_said(page: Any) -> None:
    page.expects_refusals = True
    page.load()
    page.click(*CUP)
    busy = {"message": "The server is busy: 9 requests wait.", "code": "busy", "type": "server_error", "param": None}
    page.page.route(
        "**/v1/images/segmentations",
        lambda route: route.fulfill(status=503, headers={"Retry-After": "1"}, json={"error": busy}),
        times=1,
    )
    with page.answered():
        page.click(285, 160, wait=False)
        page.page.wait_for_selector("#notice[data-kind=waiting]:visible")
        assert busy["message"] in page.page.inner_text("#notice-text")
    page.page.wait_for_selector("#notice", state="hidden")


def test_an_error_shows_the_servers_sentence_and_can_be_tried_again(page: Any) -> None:
    page.expects_refusals = True
    page.load()
    late = {"message": "The answer was not there in time.", "code": "deadline_exceeded", "type": "", "param": None}
    page.page.route(
        "**/v1/images/segmentations", lambda route: route.fulfill(status=504, json={"error": late}), times=1
    )
    page.click(*CUP, wait=False)
    page.page.wait_for_selector("#notice:visible")
    assert late["message"] in page.page.inner_text("#notice-text")
    with page.answered():
        page.page.click("#notice-action")


@pytest.mark.parametrize("name", ["letter.txt", "broken.png"])
def test_a_file_that_is_no_picture_is_refused_in_a_sentence(page: Any, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x89PNG\r\n\x1a\n this is none")
    page.page.set_input_files("#file", path)
    page.page.wait_for_selector("#notice:visible")
    assert page.page.inner_text("#notice-text") == (
        f"This browser cannot show {name}. JPEG, PNG, WebP, AVIF and GIF will do."
    )


def test_a_picture_beyond_the_servers_limit_is_refused_in_its_words(
    open_page: Any, start_server: Callable[..., Any]
) -> None:
    page = open_page(at=start_server(max_image_pixels="1000"))
    page.expects_refusals = True
    page.load()
    page.page.wait_for_selector("#notice:visible")
    assert page.page.inner_text("#notice-title") == "Too large."
    assert "1,000" in page.page.inner_text("#notice-text")
