"""Image formats and orientations: the mask lies where the object is shown."""

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ORIENTATION = 0x0112


def scene(width: int, height: int) -> Image.Image:
    """A red disc in the upper right of a grey image with a blue bar at the bottom."""
    y, x = np.mgrid[:height, :width]
    pixels = np.full((height, width, 3), (170, 175, 180), np.uint8)
    side = min(width, height)
    pixels[np.hypot(x - 0.7 * width, y - 0.3 * height) < 0.18 * side] = (200, 30, 40)
    pixels[y > 0.85 * height] = (30, 60, 190)
    return Image.fromarray(pixels)


def check_disc(page: Any, width: int, height: int) -> None:
    """Click on the disc, and check that the mask and its drawing are at the disc."""
    x, y = round(0.7 * width), round(0.3 * height)
    disc, background = page.pixel(x, y + 0.1 * min(width, height)), page.pixel(0.2 * width, 0.5 * height)
    assert disc[0] > 150 > disc[1]
    page.click(x, y)
    mask = page.last_mask()
    left, top, wide, high = mask["segments"][0]["bbox"]
    reach = 0.18 * min(width, height)
    assert (left, top) == pytest.approx((x - reach, y - reach), abs=0.06 * width)
    assert (wide, high) == pytest.approx((2 * reach, 2 * reach), abs=0.08 * width)
    assert page.pixel(x, y + 0.1 * min(width, height)) != disc
    assert page.pixel(0.2 * width, 0.5 * height) == background


@pytest.fixture
def recording(page: Any) -> Any:
    """A page with ``last_mask``, the mask of its last response."""
    responses: list[Any] = []

    def record(response: Any) -> None:
        if response.url.endswith("/segmentations"):
            responses.append(response)

    page.page.on("response", record)

    def last() -> Any:
        mask = responses[-1].json()["data"][0]
        image = page.page.inner_text("#image-name").split(" · ")[1]
        scale = int(image.split(" × ")[0]) / mask["width"]
        for segment in mask["segments"]:
            segment["bbox"] = [round(value * scale) for value in segment["bbox"]]
        return mask

    page.last_mask = last
    return page


def test_a_photo_of_twelve_megapixels_has_a_full_mask_and_full_detail(recording: Any, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    width, height = 2832, 4240
    image = scene(width, height)
    # Four pixels in a grey square on the disc, which the downscaled bitmap blurs.
    x, y = round(0.7 * width) + 200, round(0.3 * height)
    image.paste((128, 128, 128), (x - 20, y - 20, x + 20, y + 20))
    image.paste((255, 255, 255), (x, y, x + 2, y + 2))
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "large.jpg", quality=95, subsampling=0, exif=exif)
    recording.load(tmp_path / "large.jpg")
    assert f"{width} × {height}" in recording.page.inner_text("#image-name")
    check_disc(recording, width, height)
    assert recording.requests[-1]["size"]
    mask = Image.open(recording.export("mask", tmp_path))
    assert mask.size == (width, height)
    values = np.asarray(mask)
    assert values[round(0.25 * height), round(0.7 * width)] == 1
    assert values[round(0.5 * height), round(0.2 * width)] == 0
    cutout = Image.open(recording.export("cutout", tmp_path))
    assert cutout.getpixel((cutout.width // 3, cutout.height // 2))[3] == 255  # type: ignore[index]
    # Zoomed in, the image is shown at full resolution and at the right position.
    recording.page.get_by_role("button", name="Hide Object 1").click()
    recording.page.mouse.move(*recording.position(x, y))
    for _ in range(8):
        recording.page.mouse.wheel(0, -500)
    deadline = time.monotonic() + 30
    while min(recording.pixel(x, y)) < 240:
        assert time.monotonic() < deadline, recording.pixel(x, y)
    assert max(recording.pixel(x + 4, y)) < 150


def test_a_resolution_in_exif_does_not_change_the_size(recording: Any, tmp_path: Path) -> None:
    # For this file, Chromium's image elements are 150 pixels wide.
    exif = Image.Exif()
    exif[0x011A] = exif[0x011B] = 144.0
    exif[0x0128] = 2
    exif.get_ifd(0x8769).update({0xA002: 150, 0xA003: 150})
    scene(300, 300).save(tmp_path / "dense.jpg", quality=92, exif=exif)
    recording.load(tmp_path / "dense.jpg")
    assert "300 × 300" in recording.page.inner_text("#image-name")
    check_disc(recording, 300, 300)
    with Image.open(recording.export("mask", tmp_path)) as mask:
        assert mask.size == (300, 300)


def test_transparent_pixels_are_shown_on_white_as_the_server_composes_them(recording: Any, tmp_path: Path) -> None:
    image = scene(300, 300).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 60, 60))
    image.save(tmp_path / "holes.png")
    recording.load(tmp_path / "holes.png")
    assert recording.pixel(30, 30) == (255, 255, 255)
    check_disc(recording, 300, 300)


def test_a_format_that_only_the_browser_decodes_is_uploaded_as_png(recording: Any, tmp_path: Path) -> None:
    scene(256, 256).save(tmp_path / "old.ico", sizes=[(256, 256)])
    recording.allow_failed_requests = True
    recording.load(tmp_path / "old.ico")
    check_disc(recording, 256, 256)


def test_truncated_files_and_svg_are_shown_as_in_other_pages(recording: Any, tmp_path: Path) -> None:
    file = io.BytesIO()
    scene(256, 256).save(file, "JPEG", quality=92)
    (tmp_path / "truncated.jpg").write_bytes(file.getvalue()[:-40])
    (tmp_path / "drawing.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="256" height="256"><rect width="256" height="256" fill="#aab"/>'
        '<circle cx="179" cy="77" r="46" fill="#c81e28"/></svg>'
    )
    recording.allow_failed_requests = True
    for name in ("truncated.jpg", "drawing.svg"):
        recording.load(tmp_path / name)
        check_disc(recording, 256, 256)


def test_images_can_be_dropped_and_pasted(page: Any) -> None:
    file = io.BytesIO()
    scene(200, 100).save(file, "PNG")
    give = """async ([kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], `${kind}.png`, { type: 'image/png' }));
        const event = kind === 'drop'
            ? new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent('paste', { clipboardData: data, bubbles: true });
        document.body.dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        page.page.evaluate(give, [kind, list(file.getvalue())])
        page.page.wait_for_function("kind => document.querySelector('#image-name').title === `${kind}.png`", arg=kind)


def test_removing_an_image_from_the_project_deletes_it_from_the_server(page: Any) -> None:
    import httpx

    page.load()
    page.click(285, 60)
    image = page.requests[-1]["image_prompt"].removeprefix("id:")
    headers = {"Authorization": f"Bearer {page.key}"}
    page.page.evaluate("location.hash = 'sample=chelsea'")
    page.page.wait_for_function("() => document.querySelector('#image-name').title === 'chelsea.jpg'")
    assert page.rows() == []
    assert httpx.get(f"{page.url}/v1/images/{image}", headers=headers).status_code == 200
    page.press("PageUp")
    page.page.wait_for_function("() => document.querySelector('#image-name').title === 'coffee.jpg'")
    assert len(page.rows()) == 1
    page.page.click("#remove-image")
    with page.page.expect_response(lambda response: response.request.method == "DELETE"):
        page.page.click("#confirm-accept")
    page.page.wait_for_function("() => document.querySelector('#image-name').title === 'chelsea.jpg'")
    assert httpx.get(f"{page.url}/v1/images/{image}", headers=headers).status_code == 404
