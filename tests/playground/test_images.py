"""Pictures of every kind: the mask lies where one sees the object."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ORIENTATION = 0x0112


def scene(width: int, height: int) -> Image.Image:
    """A red disc in the upper right of a grey picture, a blue bar along its bottom."""
    y, x = np.mgrid[:height, :width]
    pixels = np.full((height, width, 3), (170, 175, 180), np.uint8)
    side = min(width, height)
    pixels[np.hypot(x - 0.7 * width, y - 0.3 * height) < 0.18 * side] = (200, 30, 40)
    pixels[y > 0.85 * height] = (30, 60, 190)
    return Image.fromarray(pixels)


def check_disc(page: Any, width: int, height: int) -> None:
    """Click on the disc: what is found is the disc, and is painted there."""
    x, y = round(0.7 * width), round(0.3 * height)
    bare, ground = page.pixel(x, y + 0.1 * min(width, height)), page.pixel(0.2 * width, 0.5 * height)
    assert bare[0] > 150 > bare[1]
    page.click(x, y)
    found = page.api_answer()
    left, top, wide, high = found["segments"][0]["bbox"]
    reach = 0.18 * min(width, height)
    assert (left, top) == pytest.approx((x - reach, y - reach), abs=0.06 * width)
    assert (wide, high) == pytest.approx((2 * reach, 2 * reach), abs=0.08 * width)
    assert page.pixel(x, y + 0.1 * min(width, height)) != bare
    assert page.pixel(0.2 * width, 0.5 * height) == ground


@pytest.fixture
def seeing(page: Any) -> Any:
    """A page whose last answer can be read."""
    answers: list[Any] = []

    def keep(response: Any) -> None:
        if response.url.endswith("/segmentations"):
            answers.append(response)

    page.page.on("response", keep)

    def last() -> Any:
        mask = answers[-1].json()["data"][0]
        picture = page.page.inner_text("#picture-name").split(" · ")[1]
        scale = int(picture.split(" × ")[0]) / mask["width"]
        for segment in mask["segments"]:
            segment["bbox"] = [round(value * scale) for value in segment["bbox"]]
        return mask

    page.api_answer = last
    return page


@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
def test_a_photo_is_upright_whatever_its_exif_says(seeing: Any, tmp_path: Path, orientation: int) -> None:
    upright = scene(300, 420)
    back = {
        1: None,
        3: Image.Transpose.ROTATE_180,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if back is None else upright.transpose(back)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored.save(tmp_path / "photo.jpg", quality=92, exif=exif)
    seeing.load(tmp_path / "photo.jpg")
    assert "300 × 420" in seeing.page.inner_text("#picture-name")
    check_disc(seeing, 300, 420)


def test_a_photo_of_twenty_megapixels_stays_fluent(seeing: Any, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    width, height = 3648, 5472
    scene(width, height).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "large.jpg", quality=90, exif=exif)
    seeing.load(tmp_path / "large.jpg")
    check_disc(seeing, width, height)
    assert seeing.requests[-1]["size"]
    mask = Image.open(seeing.take("take-mask", tmp_path))
    assert mask.size == (width, height)
    values = np.asarray(mask)
    assert values[round(0.3 * height), round(0.7 * width)] == 1
    assert values[round(0.5 * height), round(0.2 * width)] == 0
    cutout = Image.open(seeing.take("take-cutout", tmp_path))
    assert cutout.getpixel((cutout.width // 2, cutout.height // 2))[3] == 255  # type: ignore[index]
    # Looked at closely it has all of its pixels, in their places.
    seeing.page.mouse.move(*seeing.place(0.7 * width, 0.3 * height))
    for _ in range(5):
        seeing.page.mouse.wheel(0, -500)
    seeing.page.get_by_role("button", name="Hide Object 1").click()
    seeing.page.wait_for_timeout(2500)
    red, green, _ = seeing.pixel(0.7 * width + 2, 0.3 * height + 2)
    assert red > 150 > green


def test_transparent_parts_are_seen_on_white_as_the_model_sees_them(seeing: Any, tmp_path: Path) -> None:
    picture = scene(300, 300).convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 60, 60))
    picture.save(tmp_path / "holes.png")
    seeing.load(tmp_path / "holes.png")
    assert seeing.pixel(30, 30) == (255, 255, 255)
    check_disc(seeing, 300, 300)


def test_a_format_that_only_the_browser_reads_is_sent_as_it_is_seen(seeing: Any, tmp_path: Path) -> None:
    scene(256, 256).save(tmp_path / "old.ico", sizes=[(256, 256)])
    seeing.expects_refusals = True
    seeing.load(tmp_path / "old.ico")
    check_disc(seeing, 256, 256)


def test_pictures_can_be_dropped_and_pasted(page: Any) -> None:
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
        page.page.wait_for_function("kind => document.querySelector('#picture-name').title === `${kind}.png`", arg=kind)


def test_the_picture_before_is_forgotten_on_the_server_too(page: Any) -> None:
    import httpx

    page.load()
    page.click(285, 60)
    picture = page.requests[-1]["image_prompt"].removeprefix("id:")
    with page.page.expect_response(lambda response: response.request.method == "DELETE"):
        page.page.evaluate("location.hash = 'sample=chelsea'")
    page.page.wait_for_function("() => document.querySelector('#picture-name').title === 'chelsea.jpg'")
    headers = {"Authorization": f"Bearer {page.key}"}
    assert httpx.get(f"{page.url}/v1/images/{picture}", headers=headers).status_code == 404
    assert page.rows() == []
