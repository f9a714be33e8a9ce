import importlib.util
from pathlib import Path
from typing import Any

# First, because it keeps OpenVINO's tools from reporting their use.
from benchmarks.peers import sam_maskery  # isort: skip
import numpy as np
import pytest
from openvino import opset13 as ops
from sam_folders import write_model  # type: ignore[import-not-found]

from benchmarks import models, models_report
from benchmarks.peers.child import Child, ChildFailed


def parameter(*shape: int) -> Any:
    return ops.parameter(shape, np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write_model(tmp_path_factory.mktemp("model")))


def test_without_torch_one_sentence_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    assert models.main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("torch is not installed")
    assert "make bench-models" in line


@pytest.mark.slow
def test_a_child_times_the_calls_of_its_engine(folder: Path, tmp_path: Path) -> None:
    with models.linked(folder) as copy, Child("sam_maskery", copy, "f32", 1) as child:
        assert child.load_seconds > 0
        assert len(child.seconds("encode", once=True)) == 1
        # One object is quick enough for several calls, also on a busy machine.
        assert 1 < len(child.seconds("decode", 1)) <= 10
        assert child.memory() > 2**20
        child.ask("embedding", str(tmp_path / "embedding.npy"))
        assert child.ask("arithmetic", 8) == 8 * child.ask("arithmetic", 1) > 0
        assert set(child.ask("profile", "encode")) >= {"products with weights", "softmax"}
    assert np.load(tmp_path / "embedding.npy").ndim == 2
    assert not list(folder.glob("graph-*")), "the model's own folder is left as it was"


def test_a_child_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(
        ChildFailed, match=r"sam_maskery f32 ended with status 1 and its last output was: .*config\.json"
    ):
        Child("sam_maskery", tmp_path, "f32", 1)


@pytest.mark.parametrize(
    ("node", "operations"),
    [
        (ops.matmul(parameter(2, 3, 4), parameter(2, 4, 5), False, False), 2 * (2 * 3 * 5) * 4),
        (ops.matmul(parameter(4, 3), parameter(4, 5), True, False), 2 * (3 * 5) * 4),
        (
            ops.convolution(parameter(1, 6, 8, 8), parameter(7, 6, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1]),
            2 * (7 * 8 * 8) * (6 * 3 * 3),
        ),
        (
            ops.group_convolution(parameter(1, 6, 8, 8), parameter(6, 1, 1, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1]),
            2 * (6 * 8 * 8) * (3 * 3),
        ),
        (
            ops.convolution_backprop_data(parameter(1, 6, 8, 8), parameter(6, 7, 2, 2), [2, 2]),
            2 * (7 * 16 * 16) * 6,
        ),
        (ops.relu(parameter(9)), 0),
    ],
    ids=["matrices", "turned", "convolution", "depthwise convolution", "transposed convolution", "no product"],
)
def test_a_multiplication_and_an_addition_are_two_operations(node: Any, operations: int) -> None:
    assert sam_maskery.operations(node) == operations


@pytest.mark.slow
def test_the_report_names_every_engine_and_its_share_of_the_peak(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tuple(each for each in models.CONTENDERS if each.name == "maskery f32")
    monkeypatch.setattr(models, "CONTENDERS", ours)
    ask = Child.ask
    monkeypatch.setattr(
        Child, "ask", lambda self, method, *rest: 1e10 if method == "peak" else ask(self, method, *rest)
    )
    with models.linked(folder) as copy:
        measured = models.measure(copy, "small", 1, lambda what: None)
    encode = measured["engines"]["maskery f32"]["tasks"]["encode"]
    assert encode["min"] <= encode["median"] <= encode["max"]
    assert encode["share_of_peak"] == pytest.approx(encode["operations"] / encode["median"] / 1e10)
    assert measured["graphs"]["seconds"] > 0
    measured["machine"]["other_load"] = 0.01
    memory = measured["memory_of_server"]
    assert memory["requests"] == 20
    assert min(memory["server"], memory["encoder"]) > 2**24
    report = {"subject": "SAM-HQ, small", "title": "a title", "versions": {"numpy": np.__version__}, **measured}
    text = models_report.markdown(report)
    assert "| a new image (encode), median |" in text
    assert "1.0×" in text
    assert "10 GFLOP/s" in text
    assert "other programs used 1% of them" in text
    assert models_report.table(report).row_count > 10
    assert "| SAM-HQ, small |" in models_report.summary([report, report])
    models_report.draw(report, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").stat().st_size > 1000
