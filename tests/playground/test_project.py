"""A project of several images: it is kept across reloads, restarts of the server and tabs, and saved to files."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from tests.conftest import restarted

CLASSES = ["Disc", "Bar"]
SIZE = (240, 160)


def photo(number: int) -> Image.Image:
    """A red disc and a blue bar, whose places depend on the number."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    pixels = np.full((SIZE[1], SIZE[0], 3), (200, 205, 210), np.uint8)
    pixels[np.hypot(x - 60 - 4 * number, y - 50) < 28] = (200, 30, 40)
    pixels[(y > 110) & (y < 145) & (x > 30 + 5 * number) & (x < 190)] = (30, 60, 190)
    return Image.fromarray(pixels)


def disc(number: int) -> tuple[int, int]:
    return 60 + 4 * number, 50


BAR = (150, 128)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"photo-{number}.png" for number in range(10)]
    for number, path in enumerate(paths):
        photo(number).save(path)
    return paths


def open_all(page: Any, paths: list[Path]) -> None:
    page.page.set_input_files("#file", paths)
    page.page.wait_for_function("count => document.querySelectorAll('#frames > li').length === count", arg=len(paths))
    page.page.wait_for_selector("#canvas[data-view]")


def wait_for_image(page: Any, name: str) -> None:
    page.page.wait_for_function("name => document.querySelector('#image-name').title === name", arg=name)


def label(page: Any, name: str) -> None:
    field = page.page.locator(".is-selected .name")
    field.fill(name)
    field.press("Enter")


def label_image(page: Any, number: int) -> None:
    page.press("n")
    page.click(*disc(number))
    page.press("1")
    page.press("n")
    page.click(*BAR)
    page.press("2")


def wait_until_saved(page: Any) -> None:
    """Changes are saved after 200 ms."""
    page.page.wait_for_timeout(500)


def answer(url: str, key: str, number: int, path: Path) -> list[Any]:
    """The masks of the API for the prompt of an image."""
    response = httpx.post(
        f"{url}/v1/images/segmentations",
        files={"image": path.read_bytes()},
        data={
            "request": json.dumps(
                {
                    "model": "maskery/grabcut",
                    "segment_prompt": [[disc(number)], [BAR]],
                    "response_format": "rle",
                }
            )
        },
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
    )
    assert response.status_code == 200, response.text
    return [segment["rle"] for segment in response.json()["data"][0]["segments"]]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_ten_labelled_images_survive_a_reload_and_a_restart_of_the_server(
    open_page: Any, start_server: Callable[..., Any], photos: list[Path], tmp_path: Path
) -> None:
    server = start_server()
    page = open_page(at=server)
    page.allow_failed_requests = True
    open_all(page, photos)
    for name in CLASSES:
        page.page.fill("#new-label", name)
        page.page.press("#new-label", "Enter")
    page.page.focus("#canvas")
    for number in range(5):
        wait_for_image(page, f"photo-{number}.png")
        label_image(page, number)
        page.press("d")
    wait_for_image(page, "photo-5.png")
    label_image(page, 5)
    wait_until_saved(page)
    page.page.reload()
    page.page.wait_for_selector("#canvas[data-view]")
    wait_for_image(page, "photo-5.png")
    assert [name for name, _ in page.rows()] == CLASSES
    assert page.page.inner_text("#done-count") == "5 of 10 done"
    # Masks are shown without a request, and undo reaches back across the reload.
    assert all("px" in summary for _, summary in page.rows())
    page.page.focus("#canvas")
    page.press("Control+z", "Control+Shift+z")
    page.press("d")
    wait_for_image(page, "photo-6.png")
    server.process.terminate()
    server.process.wait(20)
    with restarted(server):
        for number in range(6, 10):
            wait_for_image(page, f"photo-{number}.png")
            label_image(page, number)
            page.press("d")
        page.page.locator("#export-all").check(force=True)
        exported = json.loads(page.export("rle", tmp_path).read_text())
        assert [image["file_name"] for image in exported["images"]] == [path.name for path in photos]
        assert [category["name"] for category in exported["categories"]] == CLASSES
        assert len(exported["annotations"]) == 20
        for number, path in enumerate(photos):
            found = [each for each in exported["annotations"] if each["image_id"] == number + 1]
            assert [each["category_id"] for each in found] == [1, 2]
            for each, expected in zip(found, answer(page.url, page.key, number, path), strict=True):
                assert np.array_equal(coco.decode(each["segmentation"]), coco.decode(expected))


def labelled(page: Any, photos: list[Path]) -> None:
    """A project with two images, of which the first has two labelled objects and is done."""
    open_all(page, photos[:2])
    for name in CLASSES:
        page.page.fill("#new-label", name)
        page.page.press("#new-label", "Enter")
    page.page.focus("#canvas")
    label_image(page, 0)
    page.press("d")
    wait_for_image(page, "photo-1.png")


def test_a_project_is_saved_to_a_file_and_loaded_from_it(
    page: Any, open_page: Any, photos: list[Path], tmp_path: Path
) -> None:
    labelled(page, photos)
    page.page.locator("#export-all").check(force=True)
    before = json.loads(page.export("rle", tmp_path).read_text())
    with page.page.expect_download() as download:
        page.page.click("#save-project")
    download.value.save_as(tmp_path / "project.zip")
    with zipfile.ZipFile(tmp_path / "project.zip") as archive:
        assert archive.read("images/0001-photo-0.png") == photos[0].read_bytes()
    other = open_page()
    # What is loaded is added to what is there.
    other.load()
    other.click(285, 60)
    label(other, "Cup")
    other.page.set_input_files("#file", tmp_path / "project.zip")
    wait_for_image(other, "photo-0.png")
    assert [name for name, _ in other.rows()] == CLASSES
    assert other.page.inner_text("#done-count") == "1 of 3 done"
    other.page.locator("#export-all").check(force=True)
    after = json.loads(other.export("rle", tmp_path).read_text())
    assert [category["name"] for category in after["categories"]] == ["Cup", *CLASSES]
    assert [each["segmentation"] for each in after["annotations"][1:]] == [
        each["segmentation"] for each in before["annotations"]
    ]


def test_exported_annotations_and_masks_are_imported_for_correction(
    page: Any, open_page: Any, photos: list[Path], tmp_path: Path
) -> None:
    labelled(page, photos)
    page.press("PageUp")
    wait_for_image(page, "photo-0.png")
    expected = json.loads(page.export("rle", tmp_path).read_text())
    mask = page.export("mask", tmp_path)
    for file, names in ((tmp_path / "photo-0-coco-rle.json", CLASSES), (mask, ["Object 1", "Object 2"])):
        other = open_page()
        open_all(other, photos[:2])
        with other.painted():
            other.page.set_input_files("#import-file", file)
        assert [name for name, _ in other.rows()] == names
        exported = json.loads(other.export("rle", tmp_path).read_text())
        assert [each["segmentation"] for each in exported["annotations"]] == [
            each["segmentation"] for each in expected["annotations"]
        ]
        # A point refines an imported mask.
        other.click(*disc(0))
        assert other.requests[-1]["mask_prompts"][0]["size"] == [SIZE[1], SIZE[0]]


def test_files_that_cannot_be_imported_are_refused_with_a_reason(page: Any, photos: list[Path], tmp_path: Path) -> None:
    def refuse(name: str, content: bytes, reason: str) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        page.page.set_input_files("#import-file", path)
        page.page.wait_for_function(
            "reason => document.querySelector('#notice-text').textContent.includes(reason)", arg=reason
        )

    refuse("mask.png", photos[0].read_bytes(), "Open its image first")
    open_all(page, photos[:1])
    refuse("notes.json", b"{", "It is not valid JSON")
    refuse("notes.json", b"{}", "no lists")
    other = {"images": [{"id": 1, "file_name": "other.jpg", "width": 1, "height": 1}], "annotations": []}
    refuse("coco.json", json.dumps(other).encode(), "Open its images first, in the same size: other.jpg.")
    refuse("project.zip", b"PK", "not a ZIP file")
    refuse("mask.png", photos[0].read_bytes(), "not a PNG with one channel")
    Image.new("L", (10, 10)).save(tmp_path / "small.png")
    refuse("mask.png", (tmp_path / "small.png").read_bytes(), "It is 10 × 10 pixels")
    assert page.rows() == []


FORBID = "Object.defineProperty(window, 'indexedDB', { get() { throw new DOMException('no', 'SecurityError'); } });"
FILL = """IDBObjectStore.prototype.put = () => {
  throw new DOMException('full', window.freed ? 'AbortError' : 'QuotaExceededError');
};"""


@pytest.mark.parametrize(("script", "reason"), [(FORBID, "does not allow"), (FILL, "no space left")])
def test_where_nothing_can_be_kept_the_page_says_so_and_loses_nothing(
    open_page: Any, photos: list[Path], tmp_path: Path, script: str, reason: str
) -> None:
    page = open_page(connect=False)
    page.page.add_init_script(script)
    page.connect()
    labelled(page, photos)
    page.page.wait_for_selector("#unsaved:visible")
    assert reason in (page.page.get_attribute("#unsaved", "title") or "")
    page.press("PageUp")
    wait_for_image(page, "photo-0.png")
    assert [name for name, _ in page.rows()] == CLASSES
    with page.page.expect_download() as download:
        page.page.click("#unsaved")
    download.value.save_as(tmp_path / "project.zip")
    with zipfile.ZipFile(tmp_path / "project.zip") as archive:
        assert len(json.loads(archive.read("project.json"))["images"][0]["prompt"]["objects"]) == 2
    asked: list[str] = []
    page.page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.page.reload()
    assert asked == ["beforeunload"]


def test_the_tab_that_was_used_last_has_the_project(page: Any, photos: list[Path]) -> None:
    labelled(page, photos)
    second = page.page.context.new_page()
    second.goto(f"{page.url}/#key={page.key}")
    second.wait_for_function("() => document.querySelectorAll('#frames > li').length === 2")
    second.locator("#frames button").first.click()
    second.wait_for_function("() => document.querySelectorAll('#objects > li').length === 2")
    second.get_by_role("button", name="Delete Disc").click()
    page.page.evaluate("dispatchEvent(new FocusEvent('focus'))")
    page.page.wait_for_function("() => document.querySelector('#frames .frame-count').textContent === '1'")
    page.page.wait_for_selector("#frames button[aria-current=true]")
    page.press("PageUp")
    wait_for_image(page, "photo-0.png")
    assert [name for name, _ in page.rows()] == ["Bar"]


def test_undo_of_an_image_survives_the_opening_of_another(page: Any, photos: list[Path]) -> None:
    labelled(page, photos)
    page.press("PageUp")
    wait_for_image(page, "photo-0.png")
    requests = len(page.requests)
    page.press("Delete", "Control+z")
    page.page.wait_for_function("() => document.querySelectorAll('#objects > li').length === 2")
    page.press("Control+z", "Control+z", "Control+z", "Control+z", "Control+z", "Control+z")
    assert page.rows() == []
    assert len(page.requests) <= requests + 2


def test_a_new_project_asks_once(page: Any, photos: list[Path]) -> None:
    labelled(page, photos)
    page.page.click("#clear-project")
    page.page.click("#confirm-cancel")
    assert page.page.locator("#frames > li").count() == 2
    page.page.click("#clear-project")
    assert "2 images" in page.page.inner_text("#confirm-text")
    page.page.click("#confirm-accept")
    page.page.wait_for_selector("#welcome:visible")
    assert page.page.locator("#labels > li").count() == 0
    page.page.reload()
    page.page.wait_for_selector("#model option", state="attached")
    assert page.page.is_visible("#welcome")


def test_labels_are_renamed_for_all_images_and_deleted_without_their_objects(page: Any, photos: list[Path]) -> None:
    labelled(page, photos)
    field = page.page.locator("#labels .name").first
    field.fill("Ball")
    field.press("Enter")
    page.page.click("#previous")
    wait_for_image(page, "photo-0.png")
    assert [name for name, _ in page.rows()] == ["Ball", "Bar"]
    page.page.get_by_role("button", name="Delete the label Ball").click()
    page.page.click("#confirm-accept")
    page.page.wait_for_function("() => document.querySelectorAll('#labels > li').length === 1")
    assert [name for name, _ in page.rows()] == ["Object 1", "Bar"]


def test_all_images_are_exported_as_masks(page: Any, photos: list[Path], tmp_path: Path) -> None:
    labelled(page, photos)
    assert page.page.is_disabled("#export-mask")
    page.page.locator("#export-all").check(force=True)
    with zipfile.ZipFile(page.export("mask", tmp_path)) as archive:
        assert archive.namelist() == ["photo-0-mask.png"]
        with archive.open("photo-0-mask.png") as file:
            mask = np.asarray(Image.open(file))
    assert mask[disc(0)[1], disc(0)[0]] == 1
    assert mask[BAR[1], BAR[0]] == 2
