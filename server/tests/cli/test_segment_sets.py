"""`maskery segment FOLDER --prompts FILE`: each image of a folder with its own objects, continued when interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from command_line import fails, maskery, succeeds
from PIL import Image
from pycocotools.coco import COCO
from samples import png, squares

GRABCUT = ("--model", "maskery/grabcut")

#: Boxes around the two squares of the sample.
BOXES = {"left": [8, 8, 42, 52], "right": [58, 18, 92, 62]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three images; one lies in a folder of its own."""
    folder = tmp_path / "photos"
    for name in ("a.png", "b.png", "inner/c.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(squares()))
    return folder


def segment(folder: Path, prompts: Path, output: Path, *arguments: object) -> dict[str, Any]:
    """The COCO file that the command writes."""
    succeeds("segment", folder, "--prompts", prompts, *GRABCUT, "--format", "coco", "-o", output, *arguments)
    content: dict[str, Any] = json.loads(output.read_text())
    return content


CSV = """image, object, x, y, positive, x0, y0, x1, y1, label
a.png, , 20, 20, , , , , , left
a.png, , , , , 58, 18, 92, 62, right
b.png, 1, 20, 20, 1, , , , , left
b.png, 1, 50, 10, 0, , , , ,
inner/c.png, , 70, 40, , , , , ,
"""

JSON_LINES = """
{"image": "a.png", "objects": [{"points": [[20, 20]], "label": "left"}, {"box": [58, 18, 92, 62], "label": "right"}]}
{"image": "b.png", "objects": [{"points": [[20, 20, 1], [50, 10, 0]], "label": "left"}]}
{"image": "inner/c.png", "objects": [{"points": [[70, 40]], "box": null}]}
"""


def test_csv_and_json_lines_describe_the_objects_of_each_image(folder: Path, tmp_path: Path) -> None:
    found = []
    for name, text in (("prompts.csv", CSV), ("prompts.jsonl", JSON_LINES)):
        (tmp_path / name).write_text(text)
        found.append(segment(folder, tmp_path / name, tmp_path / f"{name}.json"))
    assert found[0] == found[1]
    assert [image["file_name"] for image in found[0]["images"]] == ["a.png", "b.png", "inner/c.png"]
    names = {category["id"]: category["name"] for category in found[0]["categories"]}
    labels = [(each["image_id"], names[each["category_id"]]) for each in found[0]["annotations"]]
    assert labels == [(1, "left"), (1, "right"), (2, "left"), (3, "object")]
    assert names[1] == "left"


def test_the_boxes_of_a_coco_file_are_clipped_to_the_image(folder: Path, tmp_path: Path) -> None:
    width, height = squares().shape[1::-1]
    boxes = {
        "images": [{"id": 4, "file_name": "a.png", "width": width, "height": height}],
        "categories": [{"id": 9, "name": "right"}],
        "annotations": [
            {"id": 1, "image_id": 4, "category_id": 9, "bbox": [58, 18, width, height], "iscrowd": 0},
            {"id": 2, "image_id": 4, "category_id": 9, "bbox": [0, 0, 5, 5], "iscrowd": 1},
        ],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    result = maskery(
        *("segment", folder, "--prompts", tmp_path / "boxes.json", *GRABCUT),
        *("--format", "coco", "-o", tmp_path / "coco.json"),
    )
    assert result.returncode == 0, result.stderr
    assert "skipped, no prompt: b.png\n" in result.stderr
    content = json.loads((tmp_path / "coco.json").read_text())
    assert [category["name"] for category in content["categories"]] == ["right"]
    assert len(content["annotations"]) == 1


def test_relative_coordinates_are_fractions_of_the_sides(folder: Path, tmp_path: Path) -> None:
    width, height = squares().shape[1::-1]
    (tmp_path / "pixels.csv").write_text(f"image,x,y\na.png,{0.25 * width},{0.5 * height}\n")
    (tmp_path / "relative.csv").write_text("image,x,y\na.png,0.25,0.5\n")
    pixels = segment(folder, tmp_path / "pixels.csv", tmp_path / "one.json")
    assert segment(folder, tmp_path / "relative.csv", tmp_path / "two.json", "--relative") == pixels
    # So are those of the options.
    same = ("segment", folder / "a.png", "-p", "0.25,0.5", "--relative", *GRABCUT, "--format", "coco")
    succeeds(*same, "-o", tmp_path / "three.json")
    assert json.loads((tmp_path / "three.json").read_text())["annotations"] == pixels["annotations"]
    wrong = maskery(
        "segment", folder, "--prompts", tmp_path / "pixels.csv", "--relative", *GRABCUT, "-o", tmp_path / "m"
    )
    assert wrong.returncode == 2
    assert f"point 1 of pixels.csv, line 2 has the coordinate {0.25 * width:g}; with --relative" in wrong.stderr


def test_masks_of_images_in_inner_folders_lie_in_inner_folders(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("image,x,y\ninner/c.png,20,20\na.png,20,20\n")
    outputs = ("-o", tmp_path / "masks", "--overlay", tmp_path / "over")
    succeeds("segment", folder, "--prompts", tmp_path / "p.csv", *GRABCUT, *outputs)
    for name in ("inner/c.png.png", "a.png.png"):
        assert np.asarray(Image.open(tmp_path / "masks" / name))[20, 20] == 1
        assert (tmp_path / "over" / name).is_file()
    assert not list(tmp_path.rglob(".progress*")), "nothing is left of a complete run"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.txt", "", "name a CSV file (.csv), JSON lines (.jsonl) or COCO (.json)"),
        ("p.csv", "", "lacks the column image"),
        ("p.csv", "image,x,y\n", "has no prompts"),
        ("p.csv", "image,x,yy\na.png,1,2\n", "has a column 'yy'. Did you mean y?"),
        ("p.csv", "image,x,y\na.png,1\n", "line 2 has not 3 values"),
        ("p.csv", "image,x,y\n,1,2\n", "line 2 names no image"),
        ("p.csv", "image,x,y\na.png,1,two\n", "line 2: y is 'two', not a number"),
        ("p.csv", "image,x,y\na.png,,\n", "line 2 has neither a point"),
        ("p.csv", "image,x0,y0,x1,y1\na.png,1,1,2,\n", "line 2: y1 is '', not a number"),
        ("p.csv", "image,x,y,positive\na.png,1,2,yes\n", "line 2: positive is 'yes'; write 1"),
        ("p.csv", "image,x,y\n../a.png,1,2\n", "line 2 names ../a.png, which is not in the folder"),
        ("p.jsonl", "{", "line 1 is not valid JSON"),
        ("p.jsonl", '{"image": "a.png"}', "line 1: objects is a list"),
        ("p.jsonl", '{"image": "a.png", "object": []}', "has a field 'object'. Did you mean objects?"),
        ("p.jsonl", '{"image": "a.png", "objects": [{}]}', "line 1, object 1 has neither points nor a box"),
        ("p.jsonl", '{"image": "a.png", "objects": [{"points": [1, 2]}]}', "points is a list of [x, y]"),
        ("p.json", "{}", "no lists"),
        ("p.json", '{"images": [], "annotations": [{"id": 7, "image_id": 1}]}', "annotation 7 is of an image"),
    ],
)
def test_a_mistake_in_a_file_of_prompts_is_named_by_its_line(
    folder: Path, tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    assert message in fails("segment", folder, "--prompts", tmp_path / name, *GRABCUT, "-o", tmp_path / "masks")
    assert not (tmp_path / "masks").exists()


def test_failed_images_are_named_and_segmented_by_the_next_run(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("image,x,y\na.png,20,20\nb.png,2000,20\nnone.png,1,1\n")
    run = ("segment", folder, "--prompts", tmp_path / "p.csv", *GRABCUT, "--format", "coco", "-o", tmp_path / "c.json")
    first = maskery(*run)
    assert first.returncode == 2
    assert "1 of 3 images segmented, masks in" in first.stdout
    assert "b.png: point 1 of p.csv, line 3 is (2000, 20), outside the image" in first.stderr
    assert "none.png: cannot read" in first.stderr
    assert len(json.loads((tmp_path / "c.json").read_text())["images"]) == 1
    (tmp_path / "p.csv").write_text("image,x,y\na.png,20,20\nb.png,70,40\n")
    assert "2 of 2 images segmented (1 of them before)" in succeeds(*run)
    assert len(json.loads((tmp_path / "c.json").read_text())["images"]) == 2
    assert "before" not in succeeds(*run), "a complete run is not continued"


def test_a_changed_prompt_or_option_is_not_taken_for_done(folder: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "p.csv"
    prompts.write_text("image,x,y\na.png,20,20\nnone.png,1,1\n")
    run = ("segment", folder, "--prompts", prompts, *GRABCUT, "-o", tmp_path / "masks")
    assert "1 of 2 images segmented, masks in" in maskery(*run).stdout
    assert "(1 of them before)" in maskery(*run).stdout
    assert "before" not in maskery(*run, "--n", "2").stdout
    prompts.write_text("image,x,y\na.png,70,40\nnone.png,1,1\n")
    assert "before" not in maskery(*run).stdout
    assert np.asarray(Image.open(tmp_path / "masks" / "a.png.png"))[40, 70] == 1


def test_prompts_exclude_other_prompts_and_need_a_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("image,x,y\na.png,20,20\n")
    with_file = ("--prompts", tmp_path / "p.csv", *GRABCUT)
    assert "leave out --point" in fails("segment", folder, *with_file, "-p", "1,1")
    assert "leave out --prompts" in fails("segment", folder, *with_file, "--everything")
    assert "is not a folder" in fails("segment", folder / "a.png", *with_file)
    assert "--polygon-tolerance takes pixels" in fails("segment", folder, *with_file, "--polygon-tolerance", "1")


def test_an_unavailable_server_stops_the_run(folder: Path, tmp_path: Path, client: httpx.Client) -> None:
    (tmp_path / "p.csv").write_text("image,x,y\na.png,20,20\nb.png,20,20\n")
    run = ("segment", folder, "--prompts", tmp_path / "p.csv", *GRABCUT, "-o", tmp_path / "masks")
    for url in ("http://127.0.0.1:9", str(client.base_url)):
        result = maskery(*run, "--url", url, "--key", "mk_wrong")
        assert result.returncode == 2
        assert "Stopped: run the same command again to continue" in result.stderr
        assert "failed" not in result.stderr


@pytest.fixture
def many(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of fifty images, and a file with two prompts for each."""
    folder, prompts = tmp_path / "many", tmp_path / "many.csv"
    folder.mkdir()
    rows = ["image,x,y,label"]
    for number in range(50):
        shifted = np.roll(squares(), number % 7, axis=1)
        (folder / f"{number:02}.png").write_bytes(png(shifted))
        rows += [f"{number:02}.png,{20 + number % 7},20,left", f"{number:02}.png,{70 + number % 7},40,right"]
    prompts.write_text("\n".join(rows))
    return folder, prompts


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("where", ["here", "server"])
def test_fifty_images_interrupted_twice_make_one_coco_file(
    many: tuple[Path, Path], tmp_path: Path, client: httpx.Client, where: str
) -> None:
    folder, prompts = many
    key = client.headers["authorization"].removeprefix("Bearer ")
    url = ("--url", str(client.base_url), "--key", key) if where == "server" else ()
    expected = segment(folder, prompts, tmp_path / "expected.json", *url)
    output = tmp_path / "coco.json"
    journal = tmp_path / "coco.json.progress.jsonl"
    command = [sys.executable, "-m", "maskery", "segment", folder, "--prompts", prompts, *GRABCUT]
    command += ["--format", "coco", "-o", output, *url]

    def interrupt(number: int, least: int) -> int:
        """Run the command, end it when some more images are done, and return their number."""
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as process:
            deadline = time.monotonic() + 60
            while (done := len(journal.read_bytes().split()) if journal.exists() else 0) < least:
                assert process.poll() is None, "the command ended before it was interrupted"
                assert time.monotonic() < deadline
                time.sleep(0.005)
            process.send_signal(number)
            _, said = process.communicate(timeout=30)
            if number == signal.SIGINT:
                assert process.returncode == 130
                assert b"run the same command again to continue" in said
        assert not output.exists()
        return done

    first = interrupt(signal.SIGINT, 4)
    # As a power failure would, in the middle of a line.
    interrupt(signal.SIGKILL, first + 8)
    with journal.open("ab") as file:
        file.write(b'\n["cut off')
    said = succeeds(*command[3:])
    assert "50 of 50 images segmented (" in said
    assert int(said.partition("(")[2].split()[0]) >= 6
    assert json.loads(output.read_text()) == expected
    assert not journal.exists()
    loaded = COCO(output)
    assert len(loaded.getImgIds()) == 50
    assert all(loaded.annToMask(each).any() for each in loaded.loadAnns(loaded.getAnnIds()))
