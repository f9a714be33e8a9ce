"""`maskery prepare`."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from command_line import fails, maskery, succeeds
from samples import png, squares

GRABCUT = ("--model", "maskery/grabcut")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(png(squares(80 + number, 64)))
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def at(client: httpx.Client) -> tuple[str, ...]:
    key = client.headers["authorization"].removeprefix("Bearer ")
    return ("--url", str(client.base_url), "--key", key)


def encoded(client: httpx.Client) -> int:
    """Images that the server has encoded."""
    lines = client.get("/metrics").text.splitlines()
    counts = [
        line for line in lines if line.startswith('maskery_stage_seconds_count{model="maskery/grabcut",stage="encode"')
    ]
    return int(float(counts[0].split()[-1])) if counts else 0


def some_fail(folder: Path, *options: str) -> str:
    """Prepare a folder of which some images fail. Returns what is said about them."""
    result = maskery("prepare", folder, *GRABCUT, *options)
    assert result.returncode == 2
    assert "images prepared" in result.stdout
    return result.stderr


def test_a_folder_is_encoded_once_however_often_it_is_prepared(
    folder: Path, client: httpx.Client, at: tuple[str, ...]
) -> None:
    assert "5 of 5 images prepared" in succeeds("prepare", folder, *GRABCUT, *at)
    assert encoded(client) == 5
    (folder / "more.png").write_bytes(png(squares(70, 64)))
    assert "6 of 6 images prepared" in succeeds("prepare", folder, *GRABCUT, *at, "--concurrency", "3")
    assert encoded(client) == 6


def test_a_failed_image_is_named_and_the_others_are_prepared(
    folder: Path, client: httpx.Client, at: tuple[str, ...]
) -> None:
    (folder / "2.png").write_bytes(b"damaged")
    (folder / "absent.png").symlink_to(folder / "nothing.png")
    said = some_fail(folder, *at)
    assert "2 failed:" in said
    assert "2.png: " in said
    assert "absent.png: cannot read" in said
    assert encoded(client) == 4


def test_many_failures_are_counted(folder: Path, at: tuple[str, ...]) -> None:
    for number in range(30):
        (folder / f"bad-{number}.png").write_bytes(b"damaged")
    said = some_fail(folder, *at)
    assert "30 failed:" in said
    assert "and 10 more." in said
    assert said.count("bad-") == 20


def test_images_that_the_cache_does_not_hold_are_counted(
    folder: Path, make_client: Callable[..., httpx.Client]
) -> None:
    # An embedding of GrabCut is the image's pixels: the cache holds two.
    client = make_client(cache_bytes=2 * 84 * 64 * 3 + 100)
    key = client.headers["authorization"].removeprefix("Bearer ")
    result = maskery("prepare", folder, *GRABCUT, "--url", client.base_url, "--key", key, "--concurrency", "1")
    assert result.returncode == 2
    assert "2 of 5 images prepared" in result.stdout
    assert "has evicted 3 of the images" in result.stderr
    assert "MASKERY_CACHE_BYTES" in result.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--url", ""), "--url is empty"),
        (("--timeout", "nan"), "--timeout takes"),
    ],
)
def test_wrong_options_are_named(folder: Path, options: tuple[str, ...], says: str) -> None:
    assert says in fails("prepare", folder, *GRABCUT, *options)


def test_a_wrong_address_key_or_model_is_named(folder: Path, at: tuple[str, ...]) -> None:
    assert "no answer from http://127.0.0.1:9" in some_fail(folder, "--url", "http://127.0.0.1:9")
    assert "give the key with --key" in some_fail(folder, *at[:2], "--key", "wrong")
    assert "no/such" in some_fail(folder, *at, "--model", "no/such")


def test_a_folder_without_images_is_named(tmp_path: Path, at: tuple[str, ...]) -> None:
    assert "holds no images" in fails("prepare", tmp_path, *at)
