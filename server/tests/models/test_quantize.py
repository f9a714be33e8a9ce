"""Quantizing a model to int8 by the command line."""

from pathlib import Path

import numpy as np
import pytest
from command_line import fails, maskery, succeeds
from PIL import Image
from sam_cases import SIZES, image
from sam_folders import write_model

from maskery.models import Store, StoreError, load, runtime


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(image(SIZES[1], seed=number).pixels).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["sam_hq", "sam2", "edgetam"])
def test_a_model_is_quantized_and_used_with_int8(
    own_home: Path, images: Path, tmp_path: Path, architecture: str
) -> None:
    write_model(tmp_path / "model", architecture, seed=1)
    succeeds("models", "install", "me/small", "--from", tmp_path / "model")
    click = ("segment", images / "0.png", "--point", "80,45", "--model", "me/small", "-o", tmp_path / "mask.png")
    assert "maskery models quantize me/small --images DIR" in fails(*click, MASKERY_PRECISION="int8")
    made = succeeds("models", "quantize", "me/small", "--images", images)
    assert "on 3 images" in made
    store = Store(own_home / "models")
    iou = store.card("me/small").int8_iou
    assert iou is not None
    assert 0.5 < iou <= 1
    assert f"{iou:.4f}" in made
    assert f"{iou:.4f}" in succeeds("models", "show", "me/small")
    succeeds(*click, MASKERY_PRECISION="int8")
    exact, rough = (load("me/small", own_home / "models", precision) for precision in ("f32", "int8"))
    assert exact.revision != rough.revision
    kept = [model.encode(image(SIZES[1])).arrays["embedding"].astype(np.float32) for model in (exact, rough)]
    difference = np.linalg.norm(kept[0] - kept[1]) / np.linalg.norm(kept[0])
    assert 0.001 < difference < 0.2


def test_mistakes_are_one_sentence(
    own_home: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "multiplies_int8", lambda: True)
    assert "not installed" in fails("models", "quantize", "me/none", "--images", images)
    write_model(tmp_path / "model", "sam", seed=1)
    Store(own_home / "models").install_from_folder("me/small", tmp_path / "model")
    assert "--images DIR is missing" in fails("models", "quantize", "me/small")
    assert "cannot read" in fails("models", "quantize", "me/small", "--images", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "holds no images" in fails("models", "quantize", "me/small", "--images", tmp_path / "empty")
    with pytest.raises(StoreError, match="no int8 form yet"):
        load("me/small", own_home / "models", "int8")


def test_a_processor_without_vnni_is_warned_of_before_the_work(
    own_home: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    assert runtime.multiplies_int8(cpuinfo)
    for flags, expected in (("fpu avx2 avx512_vnni", True), ("fpu avx2 avx512f", False)):
        cpuinfo.write_text(f"processor : 0\nflags\t\t: {flags}\n")
        assert runtime.multiplies_int8(cpuinfo) is expected
    monkeypatch.setattr(runtime, "multiplies_int8", lambda: False)
    Store(own_home / "models").install_from_folder("me/small", write_model(tmp_path / "model", "sam", seed=1))
    result = maskery("models", "quantize", "me/small", "--images", tmp_path / "none")
    assert "VNNI" in result.stderr
