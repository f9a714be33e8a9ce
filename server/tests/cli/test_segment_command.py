"""`maskery segment`."""

import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from command_line import fails, maskery, succeeds
from PIL import Image
from pycocotools.coco import COCO
from samples import png, squares

from air import _overlay
from maskery.cli import overlay

GRABCUT = ("--model", "maskery/grabcut")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(png(squares()))
    return path


@pytest.fixture
def folder(photo: Path, tmp_path: Path) -> Path:
    """A folder of two images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.PNG"):
        shutil.copy(photo, folder / name)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def read(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        return np.asarray(image)


def test_an_image_is_segmented_on_this_machine(photo: Path, tmp_path: Path) -> None:
    mask, over = tmp_path / "out" / "mask.png", tmp_path / "overlay.png"
    prompt = ("--point", "20,20", "--object", "70,40 20,20,0", *GRABCUT)
    printed = succeeds("segment", photo, *prompt, "-o", mask, "--overlay", over)
    assert "object 1: score" in printed
    values = read(mask)
    assert values[20, 20] == 1
    assert values[40, 70] == 2
    changed = np.abs(read(over).astype(int) - squares()).sum(axis=2) > 30
    assert changed[20, 20]
    assert not changed[60, 5]


@pytest.mark.slow
def test_the_default_model_needs_no_installation(photo: Path, tmp_path: Path) -> None:
    succeeds("segment", photo, "--point", "20,20", "-o", tmp_path / "mask.png")
    assert read(tmp_path / "mask.png")[20, 20] == 1


def test_a_folder_is_segmented_and_its_bad_files_are_named(folder: Path, tmp_path: Path) -> None:
    click = ("segment", folder, "-p", "20,20", *GRABCUT, "-o", tmp_path / "masks")
    good = maskery(*click, "--overlay", tmp_path / "overlays")
    assert good.returncode == 0, good.stderr
    assert "2 of 2" in good.stdout
    assert names(tmp_path / "masks") == names(tmp_path / "overlays") == ["a.png.png", "b.PNG.png"]
    (folder / "broken.jpg").write_text("broken")
    bad = maskery(*click)
    assert bad.returncode == 2
    assert "2 of 3" in bad.stdout
    assert "broken.jpg" in bad.stderr


def test_a_folder_gives_every_format_that_is_read_and_names_what_it_skips(folder: Path, tmp_path: Path) -> None:
    image = Image.fromarray(squares())
    for suffix, name in {".jfif": "JPEG", ".jpe": "JPEG", ".mpo": "MPO", ".webp": "WEBP", ".tiff": "TIFF"}.items():
        image.save(folder / f"c{suffix}", name)
    (folder / "d.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "notes.txt").write_text("no image")
    (folder / "._a.jpg").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X        ")
    (folder / "inner.png").mkdir()
    result = maskery("segment", folder, "-p", "20,20", *GRABCUT, "-o", tmp_path / "masks")
    assert result.returncode == 0, result.stderr
    assert "7 of 7" in result.stdout
    assert len(names(tmp_path / "masks")) == 7
    assert "skipped, not an image format that is read: d.heic, notes.txt\n" in result.stderr
    assert "._a" not in result.stderr


def test_mistakes_are_one_sentence(photo: Path, tmp_path: Path) -> None:
    assert "--point X,Y" in fails("segment", photo)
    assert "not a point" in fails("segment", photo, "-p", "20;20")
    assert "not a point" in fails("segment", photo, "-p", "nan,20")
    assert "at most one box" in fails("segment", photo, "--object", "1,1,5,5 2,2,6,6")
    assert "cannot read" in fails("segment", tmp_path / "none.png", "-p", "1,1", *GRABCUT)
    assert f"{__file__}: the bytes are not an image" in fails("segment", __file__, "-p", "1,1", *GRABCUT)
    assert "not a PNG file" in fails("segment", photo, "--mask-prompt", __file__)
    assert "Unknown model" in fails("segment", photo, "-p", "1,1", "--model", "x")
    assert "maskery models install" in fails("segment", photo, "-p", "1,1", "--model", "facebook/sam-vit-base")
    assert "no answer from" in fails("segment", photo, "-p", "1,1", "--url", "http://127.0.0.1:9")
    assert "MASKERY_PORT" in fails("serve", MASKERY_PORT="x")
    assert "no active key" in fails("keys", "revoke", "none")
    assert "account name" in fails("keys", "create", "--account", "<b>")


def test_a_prompt_that_is_refused_is_named_by_its_option(photo: Path, client: httpx.Client) -> None:
    key = client.headers["authorization"].removeprefix("Bearer ")
    for where in ((), ("--url", client.base_url, "--key", key)):
        click = ("segment", photo, *GRABCUT, *where)
        said = {
            ("-p", "500,500"): "point 1 of --point is (500, 500), outside the image",
            ("-p", "20,20", "-p", "500,500"): "point 2 of --point is (500, 500), outside the image",
            ("-p", "20,20", "--object", "70,40 500,1"): 'point 2 of --object "70,40 500,1" is (500, 1), outside',
            ("--box", "50,20,40,60"): "--box is [50, 20, 40, 60]; a box is",
            ("--object", "50,20,40,60"): 'the box of --object "50,20,40,60" is [50, 20, 40, 60]; a box is',
            ("-p", "20,20,0"): "the labels of --point are all 0",
            ("--mask-prompt", photo): "--mask-prompt has ",
        }
        for prompt, message in said.items():
            printed = fails(*click, *prompt)
            assert message in printed
            assert not any(field in printed for field in ("segment_prompt", "point_labels", "boxes[", "mask_prompts"))


def test_options_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    click = ("segment", tmp_path / "none.png", "-p", "1,1")
    assert "--url is empty" in fails(*click, "--url", "")
    assert "--whole keeps overlaps" in fails(*click, "--whole")
    assert "--overlay needs" in fails(*click, "--format", "rle", "--overlay", "over.png")
    for size in ("big", "0x5", "100000x1", "640x480\n"):
        assert "write WIDTHxHEIGHT" in fails(*click, "--size", size)
    for share in ("0", "1.5", "nan"):
        assert "--merge-iou" in fails(*click, "--merge-iou", share)
    assert "--timeout" in fails(*click, "--timeout", "nan")
    assert "limit" in fails(*click, "--size", "99999x99999")
    assert maskery(*click, "--exif", "turn").returncode == 2


def test_no_file_is_overwritten_by_mistake(photo: Path, folder: Path, tmp_path: Path) -> None:
    before = photo.read_bytes()
    click = ("segment", photo, "-p", "20,20")
    assert "name it m.png" in fails(*click, "-o", tmp_path / "m.jpg")
    assert "name it over.png" in fails(*click, "-o", tmp_path / "m.png", "--overlay", tmp_path / "over.jpeg")
    assert "name it m.json" in fails(*click, "--format", "rle", "-o", tmp_path / "m.png")
    assert "over the image" in fails(*click, "-o", photo)
    assert "over the image" in fails(*click, "-o", tmp_path / "m.png", "--overlay", tmp_path / "." / photo.name)
    assert "name two" in fails(*click, "-o", tmp_path / "m.png", "--overlay", tmp_path / "m.png")
    assert "name two" in fails(*click, "--n", 2, "-o", tmp_path / "m.png", "--overlay", tmp_path / "m-2.png")
    (tmp_path / "link.png").symlink_to(photo)
    assert "over the image" in fails(*click, "-o", tmp_path / "link.png")
    assert photo.read_bytes() == before
    click = ("segment", folder, "-p", "20,20")
    assert "folder of the images" in fails(*click, "-o", folder)
    over = folder / ".." / "photos"
    assert "folder of the images" in fails(*click, "-o", tmp_path / "m", "--overlay", over)
    assert "name two" in fails(*click, "-o", tmp_path / "m", "--overlay", tmp_path / "m")
    assert names(folder) == ["a.png", "b.PNG"]


def test_a_folder_in_place_of_a_file_and_a_file_in_place_of_a_folder_are_refused(photo: Path, folder: Path) -> None:
    said = fails("segment", photo, "-p", "20,20", "-o", folder)
    assert f"-o {folder} is a folder: name a file, such as {folder / 'photo.png'}" in said
    assert "is a folder" in fails("segment", photo, "-p", "20,20", "--overlay", folder)
    assert "is a file" in fails("segment", folder, "-p", "20,20", "-o", photo)


@pytest.mark.parametrize(("stream", "closed"), [("stdin", "input"), ("stdout", "output")])
def test_a_closed_standard_stream_is_one_sentence(photo: Path, stream: str, closed: str) -> None:
    program = f"""
import os, sys
os.close({["stdin", "stdout"].index(stream)})
os.execv(sys.executable, [sys.executable, "-m", "maskery", "segment", *sys.argv[1:]])
"""
    click = ["-" if stream == "stdin" else str(photo), "-p", "20,20", *GRABCUT, "-o", "-"]
    result = subprocess.run([sys.executable, "-c", program, *click], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (2, f"maskery: standard {closed} is closed.\n")


def test_names_that_no_file_has_are_refused(
    photo: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert "the name of the image is empty" in fails("segment", "", "-p", "20,20")
    click = ("segment", photo, "-p", "20,20", *GRABCUT)
    for option in ("-o", "--overlay", "--mask-prompt"):
        assert f"the name of {option} is empty" in fails(*click, option, "")
    for option in ("-o", "--overlay"):
        assert f"{option} out/ is a folder, but {photo} is one image" in fails(*click, option, "out/")
    assert "is a URL" in fails("segment", "https://images.example/cat.jpg", "-p", "20,20")
    assert names(folder) == ["a.png", "b.PNG"]
    succeeds("segment", f"{folder}/", "-p", "20,20", *GRABCUT, "-o", f"{tmp_path}/out/")
    assert names(tmp_path / "out") == ["a.png.png", "b.PNG.png"]


def test_the_candidates_of_a_folder_are_named_as_the_help_says(folder: Path, tmp_path: Path) -> None:
    click = ("segment", folder, "-p", "20,20", *GRABCUT, "--n", 2, "-o", tmp_path / "masks")
    succeeds(*click)
    assert names(tmp_path / "masks") == ["a.png-2.png", "a.png.png", "b.PNG-2.png", "b.PNG.png"]
    assert "cat.jpg-2.png" in succeeds("segment", "--help", COLUMNS="200")


def test_standard_input_and_output_stand_in_for_files(photo: Path, folder: Path, tmp_path: Path) -> None:
    succeeds("segment", photo, "-p", "20,20", *GRABCUT, "-o", tmp_path / "mask.png", "--overlay", tmp_path / "over.png")
    click = ("segment", "-", "-p", "20,20", *GRABCUT)
    result = maskery(*click, "-o", "-", stdin=photo.read_bytes())
    assert result.returncode == 0, result.stderr
    assert result.output == (tmp_path / "mask.png").read_bytes()
    assert "object 1: score" in result.stderr
    result = maskery(*click, "-o", tmp_path / "m.png", "--overlay", "-", stdin=photo.read_bytes())
    assert result.output == (tmp_path / "over.png").read_bytes()
    result = maskery(*click, "--format", "rle", "--n", 2, "-o", "-", stdin=photo.read_bytes())
    assert len(json.loads(result.output)) == 2
    assert "standard input: the bytes are not an image" in fails(*click, "-o", "-", stdin=b"nothing")
    assert "name a file" in fails(*click, "-o", "-", "--n", 2)
    assert "both standard output" in fails(*click, "-o", "-", "--overlay", "-")
    assert "both standard input" in fails(*click, "--mask-prompt", "-")
    assert "not standard output" in fails("segment", folder, "-p", "1,1", "-o", "-")


def test_a_file_name_that_the_terminal_cannot_show_is_printed_with_escapes(photo: Path, tmp_path: Path) -> None:
    for name in ("маска.png", "caf\udce9.png"):
        result = maskery("segment", photo, "-p", "20,20", *GRABCUT, "-o", tmp_path / name, encoding="ascii")
        assert result.returncode == 0, result.stderr
        assert "mask: " in result.stdout
        assert (tmp_path / name).is_file()


def test_the_overlay_has_the_images_size_whatever_the_masks(photo: Path, tmp_path: Path) -> None:
    over = tmp_path / "over.png"
    for size in ("24x16", "384x256"):
        click = ("segment", photo, "-p", "20,20", *GRABCUT, "--size", size)
        succeeds(*click, "-o", tmp_path / "m.png", "--overlay", over)
        drawn = read(over).astype(int)
        assert drawn.shape == (64, 96, 3)
        changed = np.abs(drawn - squares()).sum(axis=2) > 30
        assert changed[12:28, 12:28].all()
        assert not changed[36:, 36:].any()


def test_overlays_have_the_colours_of_the_sdk() -> None:
    assert [overlay.colour(value) for value in range(1, 40)] == [_overlay.colour(value) for value in range(1, 40)]


def test_a_key_is_given_in_several_ways_and_never_printed(photo: Path, tmp_path: Path, client: httpx.Client) -> None:
    key = client.headers["authorization"].removeprefix("Bearer ")
    ask = ("segment", photo, "-p", "20,20", *GRABCUT, "-o", tmp_path / "m.png", "--url", client.base_url)
    succeeds(*ask, "--key", f" {key}\n")
    succeeds(*ask, MASKERY_API_KEY=f"{key}\n")
    succeeds(*ask, AIR_API_KEY=key)
    succeeds(*ask, MASKERY_API_KEY=key, AIR_API_KEY="another")
    for odd in ("mk_sécret", "mk_secret\nX: y", "mk secret", "mk_secret\udcff"):
        said = fails(*ask, "--key", odd)
        assert "characters that no key has" in said
        assert "cret" not in said
    for said in (fails(*ask), fails(*ask, "--key", "mk_wrong")):
        assert "--key" in said
        assert "mk_wrong" not in said


def test_the_server_is_the_one_that_the_environment_names(photo: Path, tmp_path: Path) -> None:
    click = ("segment", photo, "-p", "20,20", *GRABCUT, "-o", tmp_path / "m.png")
    assert "no answer from http://127.0.0.1:9" in fails(*click, AIR_BASE_URL="http://127.0.0.1:9")
    succeeds(*click, AIR_BASE_URL="")


@pytest.mark.parametrize(
    "variables",
    [
        {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1,fd00::/8"},
        {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1,[::1]"},
        {"ALL_PROXY": "socks5://127.0.0.1:9"},
        {"SSL_CERT_FILE": "/nonexistent/ca.pem"},
    ],
    ids=lambda variables: "-".join(variables.values()),
)
def test_unusable_variables_do_not_matter_on_this_machine_and_are_named_elsewhere(
    photo: Path, tmp_path: Path, client: httpx.Client, variables: dict[str, str]
) -> None:
    key = client.headers["authorization"].removeprefix("Bearer ")
    ask = ("segment", photo, "-p", "20,20", *GRABCUT, "-o", tmp_path / "m.png", "--key", key)
    succeeds(*ask, "--url", client.base_url, **variables)
    message = fails(*ask, "--url", "https://example.invalid", **variables)
    assert "NO_PROXY" in message or "SSL_CERT_FILE" in message


def test_a_proxy_sees_no_request_to_this_machine(photo: Path, tmp_path: Path, client: httpx.Client) -> None:
    key = client.headers["authorization"].removeprefix("Bearer ")
    ask = ("segment", photo, "-p", "20,20", *GRABCUT, "-o", tmp_path / "m.png", "--key", key)
    proxy = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    succeeds(*ask, "--url", client.base_url, **proxy)
    assert "ALL_PROXY" in fails(*ask, "--url", "https://images.example", ALL_PROXY="ftp://127.0.0.1:9")


def serve_answers(answers: list[bytes], ask: Callable[[str], Any]) -> list[Any]:
    """Call `ask` once per answer with the URL of a server that gives them."""
    left = iter(answers)

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            content = next(left)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        results = [ask(f"http://127.0.0.1:{server.server_address[1]}") for _ in answers]
        server.shutdown()
        thread.join()
    return results


def test_a_url_with_the_wrong_scheme_is_named(photo: Path, client: httpx.Client) -> None:
    click = ("segment", photo, "-p", "20,20", "--url")
    url = str(client.base_url).replace("http:", "https:")
    assert "it answers without TLS, so its URL starts with http://" in fails(*click, url)

    def refuse() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse)
        thread.start()
        said = fails(*click, f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert "if it expects TLS, its URL starts with https://" in said


def test_an_address_that_is_not_a_segmentation_server_is_named(photo: Path) -> None:
    answers = [b"{}", b"[]", b"null", b'{"data": []}', b'{"data": [{}]}', b"<html>", b'"text"']
    said = serve_answers(answers, lambda url: fails("segment", photo, "-p", "20,20", "--url", url))
    assert all("is not a segmentation server" in each for each in said), said


def test_a_server_gives_the_same_mask_as_this_process(photo: Path, tmp_path: Path, client: httpx.Client) -> None:
    key = client.headers["authorization"].removeprefix("Bearer ")
    here, there = tmp_path / "here.png", tmp_path / "there.png"
    prompt = ("segment", photo, "--point", "20,20", "--object", "70,40 50,20,90,60", *GRABCUT)
    succeeds(*prompt, "-o", here)
    succeeds(*prompt, "-o", there, "--url", client.base_url, MASKERY_API_KEY=key)
    assert here.read_bytes() == there.read_bytes()
    assert "--key" in fails(*prompt, "--url", client.base_url, "--key", "wrong")
    options = ("--size", "48x32", "--n", 2, "--whole", "--format", "polygons", "--merge-iou", "0.8")
    succeeds(*prompt, *options, "-o", tmp_path / "here.json")
    succeeds(*prompt, *options, "-o", tmp_path / "there.json", "--url", client.base_url, "--key", key)
    assert (tmp_path / "here.json").read_bytes() == (tmp_path / "there.json").read_bytes()


def test_every_option_of_the_api_has_one_here(photo: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.png"
    start.write_bytes(png((squares()[..., 0] > 200).astype(np.uint8)))
    out = tmp_path / "mask.png"
    succeeds("segment", photo, "--box", "50,20,90,60", *GRABCUT, "--size", "48x32", "-o", out)
    values = read(out)
    assert values.shape == (32, 48)
    assert values[20, 35] == 1
    succeeds("segment", photo, "--mask-prompt", start, "-p", "20,20", *GRABCUT, "--n", 3, "-o", out)
    assert (tmp_path / "mask-2.png").is_file()
    assert (tmp_path / "mask-3.png").is_file()
    same = ("segment", photo, "-p", "20,20", "--object", "20,20", "--exif", "ignore", *GRABCUT)
    described = tmp_path / "mask.json"
    succeeds(*same, "--whole", "--format", "rle", "-o", described)
    assert len(json.loads(described.read_text())[0]["segments"]) == 2
    succeeds(*same, "--format", "polygons", "-o", described)
    assert json.loads(described.read_text())[0]["segments"][0]["polygons"]
    assert len(succeeds(*same, "--merge-iou", "1", "-o", out).splitlines()) == 3


def test_a_mask_is_not_written_over_the_mask_prompt(photo: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.png"
    start.write_bytes(png((squares()[..., 0] > 200).astype(np.uint8)))
    before = start.read_bytes()
    message = fails("segment", photo, "--mask-prompt", start, *GRABCUT, "-o", start)
    assert "over the mask prompt" in message
    assert start.read_bytes() == before


def test_a_link_to_a_missing_file_is_reported(photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(photo.read_bytes())
    (folder / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    result = maskery("segment", folder, "-p", "20,20", *GRABCUT, "-o", tmp_path / "masks")
    assert result.returncode == 2
    assert "gone.jpg: cannot read" in result.stderr


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_labels_are_the_categories_of_a_coco_file_of_a_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.jpg").write_text("broken")
    output = tmp_path / "out" / "coco.json"
    prompt = ("-p", "20,20", "--object", "70,40", "--label", "red", "--label", "blue", *GRABCUT)
    failed = maskery("segment", folder, *prompt, "--format", "coco", "-o", output)
    assert failed.returncode == 2
    assert f"2 of 3 images segmented, masks in {output}" in failed.stdout
    dataset = COCO(output)
    assert [image["file_name"] for image in dataset.dataset["images"]] == ["a.png", "b.PNG"]
    names = {category["id"]: category["name"] for category in dataset.dataset["categories"]}
    for image in dataset.getImgIds():
        annotations = dataset.loadAnns(dataset.getAnnIds(image))
        assert [names[each["category_id"]] for each in annotations] == ["red", "blue"]
        red, blue = map(dataset.annToMask, annotations)
        assert red[20, 20]
        assert blue[40, 70]
        assert red.sum() == annotations[0]["area"]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_polygons_of_a_coco_file_reproduce_the_mask_with_its_holes(tmp_path: Path) -> None:
    pixels = np.full((60, 90, 3), (40, 70, 160), np.uint8)
    pixels[10:50, 20:70] = (220, 120, 30)
    pixels[20:30, 30:40] = pixels[35:45, 50:60] = (40, 70, 160)
    Image.fromarray(pixels).save(tmp_path / "ring.png")
    prompt = ("--box", "18,8,72,52", "-p", "25,15", "-p", "35,25,0", "-p", "55,40,0", *GRABCUT)
    succeeds("segment", tmp_path / "ring.png", *prompt, "-o", tmp_path / "mask.png")
    succeeds("segment", tmp_path / "ring.png", *prompt, "--format", "coco-polygons", "-o", tmp_path / "simple.json")
    exact = ("--format", "coco-polygons", "--polygon-tolerance", 0, "-o", tmp_path / "coco.json")
    succeeds("segment", tmp_path / "ring.png", *prompt, *exact)
    coco = COCO(tmp_path / "coco.json")
    [annotation] = coco.loadAnns(coco.getAnnIds())
    [simple] = json.loads((tmp_path / "simple.json").read_text())["annotations"]
    assert len(simple["segmentation"][0]) < len(annotation["segmentation"][0]), "by default simplified by one pixel"
    values = read(tmp_path / "mask.png")
    assert values[25, 35] == 0 == values[40, 55]
    assert np.array_equal(coco.annToMask(annotation), values)


def test_a_coco_file_of_one_image_can_go_to_standard_output(photo: Path) -> None:
    printed = succeeds("segment", photo, "-p", "20,20", *GRABCUT, "--format", "coco", "-o", "-")
    file = json.loads(printed)
    assert [image["file_name"] for image in file["images"]] == ["photo.png"]
    assert [category["name"] for category in file["categories"]] == ["object"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--label", "a", "--label", "b"), "2 --labels for 1 object"),
        (("--label", " "), "--label 1 is empty"),
        (("--label", " "), "--label 1 is empty: name each object"),
        (("--format", "coco", "--n", "2"), "leave out --n"),
        (("--format", "coco-polygons", "--size", "9x9"), "leave out --size"),
        (("--format", "coco", "--size", "9x9"), "leave out --size"),
        (("--format", "coco", "-o", "coco.png"), "name it coco.json"),
    ],
)
def test_labels_and_coco_files_that_cannot_be_are_refused(
    photo: Path, arguments: tuple[str, ...], message: str
) -> None:
    assert message in fails("segment", photo, "-p", "20,20", *GRABCUT, *arguments)


@pytest.mark.slow
def test_everything_in_an_image_is_segmented_on_this_machine(photo: Path, tmp_path: Path) -> None:
    printed = succeeds("segment", photo, "--everything", "-o", tmp_path / "mask.png")
    values = read(tmp_path / "mask.png")
    assert printed.count("object ") == values.max() > 1
    assert values[20, 20] != values[40, 70] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-p", "20,20"), "leave out --point"),
        (("--label", "cat"), "leave out --label"),
        (("--n", "2"), "leave out --n"),
        (GRABCUT, "one object at a time"),
        (("--points-per-side", "60"), "--points-per-side is 60, which makes 3,600 points"),
    ],
)
def test_everything_takes_no_prompt_and_not_every_model(photo: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message in fails("segment", photo, "--everything", *arguments)


def test_a_grid_needs_everything(photo: Path) -> None:
    assert "add --everything" in fails("segment", photo, "-p", "20,20", "--points-per-side", "8")
