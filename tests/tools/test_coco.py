"""COCO files that `maskery segment` writes, read by Label Studio's own import converter."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.tools.conftest import PROGRAMS

pytestmark = pytest.mark.services

PHOTO = ROOT / "examples" / "photos" / "coffee.png"
CONVERT = """
import sys
from label_studio_sdk.converter.imports.coco import convert_coco_to_ls
convert_coco_to_ls(sys.argv[1], sys.argv[2], image_root_url="/photos")
"""


def segment(output: Path, *form: str) -> None:
    prompt = ("--box", "80,20,500,390", "--object", "165,15,415,330", "--label", "saucer", "--label", "cup")
    command = [sys.executable, "-m", "maskery", "segment", PHOTO, *prompt, "-o", output, *form]
    subprocess.run(command, check=True, capture_output=True)


def test_label_studio_imports_the_polygons_of_a_coco_file(tmp_path: Path) -> None:
    segment(tmp_path / "mask.png")
    segment(tmp_path / "coco.json", "--format", "coco-polygons")
    subprocess.run(
        [PROGRAMS / "python", "-c", CONVERT, tmp_path / "coco.json", tmp_path / "tasks.json"],
        check=True,
        capture_output=True,
    )
    [task] = json.loads((tmp_path / "tasks.json").read_text())
    assert task["data"]["image"] == "/photos/coffee.png"
    results = [each for part in task["annotations"] for each in part["result"] if each["type"] == "polygonlabels"]
    expected = np.asarray(Image.open(tmp_path / "mask.png"))
    height, width = expected.shape
    for value, label in enumerate(("saucer", "cup"), start=1):
        found = np.zeros((height, width), np.uint8)
        for each in results:
            if each["value"]["polygonlabels"] == [label]:
                corners = np.array(each["value"]["points"]) * (width / 100, height / 100)
                # Corners lie between pixels.
                cv2.fillPoly(found, [np.rint(corners * 16 - 8).astype(np.int32)], 1, shift=4)
        mask = expected == value
        assert np.count_nonzero(mask & (found > 0)) / np.count_nonzero(mask | (found > 0)) > 0.97
