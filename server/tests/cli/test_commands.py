"""The command line, run as its users run it."""

import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from samples import png, squares

from maskery.accounts import AccountStore
from maskery.accounts.keys import verify_secret


def maskery(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "maskery", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "200", **environment},
    )


def fails(*arguments: object, **environment: str) -> str:
    """What a command says that ends with exit code 2: one sentence, no traceback, nothing on standard output."""
    result = maskery(*arguments, **environment)
    assert result.returncode == 2, result
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(png(squares()))
    return path


def test_an_image_is_segmented_here(photo: Path, tmp_path: Path) -> None:
    mask, overlay = tmp_path / "out" / "mask.png", tmp_path / "overlay.png"
    result = maskery(
        "segment", photo, "--point", "20,20", "--object", "70,40 20,20,0", "-o", mask, "--overlay", overlay
    )
    assert result.returncode == 0, result.stderr
    assert "object 1: score" in result.stdout
    values = np.asarray(Image.open(mask))
    assert values[20, 20] == 1
    assert values[40, 70] == 2
    drawn = np.asarray(Image.open(overlay)).astype(int)
    changed = np.abs(drawn - squares()).sum(axis=2) > 30
    assert changed[20, 20]
    assert not changed[60, 5]


def test_a_folder_is_segmented_and_its_bad_files_are_named(photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.PNG"):
        (folder / name).write_bytes(photo.read_bytes())
    (folder / "notes.txt").write_text("no image")
    good = maskery("segment", folder, "-p", "20,20", "-o", tmp_path / "masks", "--overlay", tmp_path / "overlays")
    assert good.returncode == 0, good.stderr
    assert "2 of 2" in good.stdout
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["a.png.png", "b.PNG.png"]
    assert sorted(path.name for path in (tmp_path / "overlays").iterdir()) == ["a.png.png", "b.PNG.png"]
    (folder / "broken.jpg").write_text("broken")
    bad = maskery("segment", folder, "-p", "20,20", "-o", tmp_path / "masks")
    assert bad.returncode == 2
    assert "2 of 3" in bad.stdout
    assert "broken.jpg" in bad.stderr


def test_mistakes_are_one_sentence(photo: Path, tmp_path: Path) -> None:
    assert "--point X,Y" in fails("segment", photo)
    assert "not a point" in fails("segment", photo, "-p", "20;20")
    assert "outside the image" in fails("segment", photo, "-p", "500,500")
    assert "cannot read" in fails("segment", tmp_path / "none.png", "-p", "1,1")
    assert "not an image" in fails("segment", __file__, "-p", "1,1")
    assert "There is no model" in fails("segment", photo, "-p", "1,1", "--model", "x")
    assert "maskery models install" in fails("segment", photo, "-p", "1,1", "--model", "facebook/sam-vit-base")
    assert "no answer from" in fails("segment", photo, "-p", "1,1", "--url", "http://127.0.0.1:9")
    assert "MASKERY_PORT" in fails("serve", MASKERY_PORT="x")
    assert "no active key" in fails("keys", "revoke", "none")
    assert "account's name" in fails("keys", "create", "--account", "<b>")
    assert "cannot be made" in fails("keys", "list", MASKERY_HOME=str(photo))


def test_keys_are_made_listed_and_revoked() -> None:
    key = maskery("keys", "create", "--account", "team", "--quiet").stdout
    assert key.startswith("mk_")
    assert key.count("\n") == 1
    listed = maskery("keys", "list").stdout
    assert "team" in listed
    assert "until " in listed
    assert key.strip() not in listed
    assert maskery("keys", "revoke", key.split("_")[1]).returncode == 0
    assert "revoked" in maskery("keys", "list").stdout


def test_models_are_listed_with_their_state() -> None:
    listed = maskery("models", "list").stdout
    assert "maskery/grabcut" in listed
    assert "built in" in listed
    assert "syscv-community/sam-hq-vit-base" in listed


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.1", "machine.example"])
def test_serving_beyond_this_machine_needs_a_key_first(host: str) -> None:
    for said in (fails("serve", "--host", host, "--port", 0), fails("serve", MASKERY_HOST=host, MASKERY_PORT="0")):
        assert f"{host} can be reached by other machines" in said
        assert "maskery keys create" in said
    assert "active" not in maskery("keys", "list").stdout


def test_an_empty_host_is_no_address() -> None:
    """To the system it means every one."""
    assert "MASKERY_HOST" in fails("serve", "--host", "", "--port", 0)


def test_a_first_start_that_fails_makes_no_key(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "cannot listen" in fails("serve", "--port", port)
    assert "There is no model" in fails("serve", "--port", 0, MASKERY_ALIASES="a/b=c/d")
    assert "active" not in maskery("keys", "list").stdout
    home = tmp_path / "home"
    command = [sys.executable, "-m", "maskery", "serve", "--port", "0"]
    environment = {**os.environ, "MASKERY_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        lines = server.stdout.readline() + server.stdout.readline()
        server.terminate()
        server.communicate(timeout=20)
    key = lines.partition("Key: ")[2].strip()
    store = AccountStore.open(home / "maskery.db")
    entry = store.keys.find_records([key.split("_")[1]]).popitem()[1]
    store.close()
    assert verify_secret(entry, key)
    assert entry.key.state == "active"


def test_nothing_is_written_over_anything(photo: Path, tmp_path: Path) -> None:
    before = photo.read_bytes()
    click = ("segment", photo, "-p", "20,20")
    assert "name it m.png" in fails(*click, "-o", tmp_path / "m.jpg")
    assert "name it over.png" in fails(*click, "-o", tmp_path / "m.png", "--overlay", tmp_path / "over.jpeg")
    assert "over the image" in fails(*click, "-o", photo)
    assert "over the image" in fails(*click, "-o", tmp_path / "m.png", "--overlay", tmp_path / "." / photo.name)
    assert "name two" in fails(*click, "-o", tmp_path / "m.png", "--overlay", tmp_path / "m.png")
    assert "name two" in fails(*click, "--n", 2, "-o", tmp_path / "m.png", "--overlay", tmp_path / "m-2.png")
    (tmp_path / "link.png").symlink_to(photo)
    assert "over the image" in fails(*click, "-o", tmp_path / "link.png")
    assert photo.read_bytes() == before
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(before)
    assert "folder of the images" in fails("segment", folder, "-p", "20,20", "-o", folder)
    assert "folder of the images" in fails(
        "segment", folder, "-p", "20,20", "-o", tmp_path / "m", "--overlay", folder / ".." / "photos"
    )
    assert "name two" in fails("segment", folder, "-p", "20,20", "-o", tmp_path / "m", "--overlay", tmp_path / "m")
    assert [path.name for path in folder.iterdir()] == ["a.png"]


def test_the_overlay_has_the_images_size_whatever_the_masks(photo: Path, tmp_path: Path) -> None:
    over = tmp_path / "over.png"
    for size in ("24x16", "384x256"):
        result = maskery(
            *("segment", photo, "-p", "20,20", "--size", size, "-o", tmp_path / "m.png", "--overlay", over)
        )
        assert result.returncode == 0, result.stderr
        drawn = np.asarray(Image.open(over)).astype(int)
        assert drawn.shape == (64, 96, 3)
        changed = np.abs(drawn - squares()).sum(axis=2) > 30
        assert changed[12:28, 12:28].all()
        assert not changed[36:, 36:].any()


def test_a_key_is_named_in_several_ways_and_never_printed(photo: Path, tmp_path: Path, client: httpx.Client) -> None:
    key = client.headers["authorization"].removeprefix("Bearer ")
    ask = ("segment", photo, "-p", "20,20", "-o", tmp_path / "m.png", "--url", client.base_url)
    assert maskery(*ask, "--key", f" {key}\n").returncode == 0
    assert maskery(*ask, MASKERY_API_KEY=f"{key}\n").returncode == 0
    assert maskery(*ask, AIR_API_KEY=key).returncode == 0
    assert maskery(*ask, MASKERY_API_KEY=key, AIR_API_KEY="another").returncode == 0
    for odd in ("mk_sécret", "mk_secret\nX: y", "mk secret", "mk_secret\udcff"):
        said = fails(*ask, "--key", odd)
        assert "characters that no key has" in said
        assert "cret" not in said
    for said in (fails(*ask), fails(*ask, "--key", "mk_wrong")):
        assert "--key" in said
        assert "mk_wrong" not in said


def test_an_address_that_is_no_segmentation_server_is_named(photo: Path) -> None:
    answers = iter([b"{}", b"[]", b"null", b'{"data": []}', b'{"data": [{}]}', b"<html>", b'"text"'])

    class Other(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            content = next(answers)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        said = [fails("segment", photo, "-p", "20,20", "--url", url) for _ in range(7)]
        server.shutdown()
        thread.join()
    assert all("is not a segmentation server" in each for each in said), said


def test_help_and_version() -> None:
    assert "segment" in maskery("--help").stdout
    told = maskery("segment", "--help").stdout
    assert "X,Y" in told
    assert "cat.jpg.png" in told
    assert maskery("--version").stdout.strip()
    assert maskery("sgment").returncode == 2


def test_a_server_gives_the_same_mask_as_this_process(photo: Path, tmp_path: Path, client: httpx.Client) -> None:
    key = client.headers["authorization"].removeprefix("Bearer ")
    here, there = tmp_path / "here.png", tmp_path / "there.png"
    prompt = ("segment", photo, "--point", "20,20", "--object", "70,40 50,20,90,60")
    assert maskery(*prompt, "-o", here).returncode == 0
    result = maskery(*prompt, "-o", there, "--url", client.base_url, MASKERY_API_KEY=key)
    assert result.returncode == 0, result.stderr
    assert here.read_bytes() == there.read_bytes()
    assert "API key is not known" in fails(*prompt, "--url", client.base_url, "--key", "wrong")
    assert "outside the image" in fails("segment", photo, "-p", "500,1", "--url", client.base_url, "--key", key)


def test_every_option_of_the_api_has_one_here(photo: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.png"
    start.write_bytes(png((squares()[..., 0] > 200).astype(np.uint8)))
    out = tmp_path / "mask.png"
    assert maskery("segment", photo, "--box", "50,20,90,60", "--size", "48x32", "-o", out).returncode == 0
    values = np.asarray(Image.open(out))
    assert values.shape == (32, 48)
    assert values[20, 35] == 1
    assert maskery("segment", photo, "--mask-prompt", start, "-p", "20,20", "--n", 3, "-o", out).returncode == 0
    assert (tmp_path / "mask-2.png").is_file()
    assert (tmp_path / "mask-3.png").is_file()
    same = ("segment", photo, "-p", "20,20", "--object", "20,20", "--exif", "ignore")
    described = tmp_path / "mask.json"
    assert maskery(*same, "--whole", "--format", "rle", "-o", described).returncode == 0
    assert len(json.loads(described.read_text())[0]["segments"]) == 2
    assert maskery(*same, "--format", "polygons", "-o", described).returncode == 0
    assert json.loads(described.read_text())[0]["segments"][0]["polygons"]
    assert len(maskery(*same, "--merge-iou", "1", "-o", out).stdout.splitlines()) == 3
    assert "response_format" in fails(*same, "--whole")
    assert "size" in fails(*same, "--size", "big")
