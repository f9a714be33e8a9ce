"""The int8 form, made and used through the command line, as its users do it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sam_cases import SIZES, image
from sam_folders import write_model

from maskery.models import Store, StoreError, load


def maskery(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "maskery", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(image(SIZES[1], seed=number).pixels).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_a_model_is_quantised_and_used_when_asked_for(own_home: Path, images: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "model", "sam_hq", seed=1)
    assert maskery("models", "install", "me/small", "--from", tmp_path / "model").returncode == 0
    asked = ("segment", images / "0.png", "--point", "80,45", "--model", "me/small", "-o", tmp_path / "mask.png")
    refused = maskery(*asked, MASKERY_PRECISION="int8")
    assert refused.returncode == 2
    assert "maskery models quantize me/small --images DIR" in refused.stderr
    made = maskery("models", "quantize", "me/small", "--images", images)
    assert made.returncode == 0, made.stderr
    assert "on 3 images" in made.stdout
    store = Store(own_home / "models")
    iou = store.card("me/small").int8_iou
    assert iou is not None
    assert 0.5 < iou <= 1
    assert f"{iou:.4f}" in made.stdout
    assert f"{iou:.4f}" in maskery("models", "show", "me/small").stdout
    assert maskery(*asked, MASKERY_PRECISION="int8").returncode == 0
    exact, rough = (load("me/small", own_home / "models", precision) for precision in ("f32", "int8"))
    assert exact.revision != rough.revision
    kept = [model.encode(image(SIZES[1])).arrays["embedding"].astype(np.float32) for model in (exact, rough)]
    difference = np.linalg.norm(kept[0] - kept[1]) / np.linalg.norm(kept[0])
    assert 0.001 < difference < 0.2


def test_mistakes_are_one_sentence(own_home: Path, images: Path, tmp_path: Path) -> None:
    assert "not installed" in maskery("models", "quantize", "me/none", "--images", images).stderr
    write_model(tmp_path / "model", "sam", seed=1)
    Store(own_home / "models").install_from_folder("me/small", tmp_path / "model")
    assert "not a folder" in maskery("models", "quantize", "me/small", "--images", tmp_path / "none").stderr
    (tmp_path / "empty").mkdir()
    assert "holds no images" in maskery("models", "quantize", "me/small", "--images", tmp_path / "empty").stderr
    with pytest.raises(StoreError, match="no int8 form yet"):
        load("me/small", own_home / "models", "int8")
