"""Every graph of every family gives the same results by ONNX Runtime as by OpenVINO."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from sam_cases import SIZES, image, prompts
from sam_folders import CACHE, write_model

from maskery.models import DeviceError, load
from maskery.models.builtin.nano import Nano
from maskery.models.families import FAMILIES
from maskery.models.runtime import Arrays, Graph, Network, devices, open_backend
from maskery.models.runtime import onnxruntime as backend_module
from maskery.models.runtime.onnxruntime import OnnxRuntime
from maskery.models.sam.promptable import PromptableModel
from maskery.segmentation import parse_prompt

CPU, ONNX_RUNTIME = open_backend("cpu"), open_backend("onnxruntime")
SIZE = SIZES[1]
GRAPHS = ("encode", "decode", "decode-masks")


@pytest.fixture(scope="module", params=["sam", "sam_hq", "sam2", "edgetam"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / str(request.param), request.param, seed=1)


def load_both(folder: Path) -> Iterator[PromptableModel]:
    """The model by OpenVINO and by ONNX Runtime."""
    for backend in (CPU, ONNX_RUNTIME):
        model = FAMILIES[folder.name].load("a/b", folder, "r", "f32", False, CACHE, backend)
        assert isinstance(model, PromptableModel)
        yield model


def assert_equal(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
    """Within 1e-4 of the largest value."""
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * float(np.abs(ours).max()))


def test_images_and_prompts_of_every_kind_give_the_same(folder: Path) -> None:
    one, other = load_both(folder)
    ours, theirs = (model.encode(image(SIZE)) for model in (one, other))
    assert set(ours.arrays) == set(theirs.arrays)
    for name, array in ours.arrays.items():
        assert_equal(array, theirs.arrays[name])
    for objects in prompts(SIZE):
        # Of one embedding: what rounding changes in it is compared above.
        for mine, its in zip(one.decode(ours, objects), other.decode(ours, objects), strict=True):
            assert_equal(mine.logits, its.logits)
            assert_equal(mine.scores, its.scores)


def test_the_graphs_of_the_default_model_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Nano("f32", cache=CACHE), Nano("f32", backend=ONNX_RUNTIME)
    names = {network: name for name, network in vars(one).items() if isinstance(network, Network)}
    calls: list[tuple[Network, Arrays, Arrays]] = []
    run = Network.run

    def record(network: Network, inputs: Arrays) -> Arrays:
        calls.append((network, dict(inputs), run(network, inputs)))
        return calls[-1][2]

    with monkeypatch.context() as patch:
        patch.setattr(Network, "run", record)
        embedding = one.encode(image(SIZE))
        for objects in prompts(SIZE):
            one.decode(embedding, objects)
    assert {names[network] for network, _, _ in calls} == set(names.values())
    for network, inputs, outputs in calls:
        for name, array in getattr(other, names[network]).run(inputs).items():
            assert_equal(outputs[name], array)


def test_inputs_in_half_precision_are_converted_within_the_graph(folder: Path) -> None:
    (_, model) = load_both(folder)
    embedding, graph = model.encode(image(SIZE)).arrays, model.graph("decode")
    rng = np.random.default_rng(0)
    inputs = {
        **{name: array.astype(np.float16) for name, array in embedding.items()},
        "prompt": rng.standard_normal((2, 4, 16)).astype(np.float32),
        "attn_mask": np.zeros((2, 4), np.float32),
    }
    half, full = (
        Network(lambda: graph, "f32", ["logits"], half=names, backend=ONNX_RUNTIME) for names in (tuple(embedding), ())
    )
    expected = full.run({name: array.astype(np.float32) for name, array in inputs.items()})
    np.testing.assert_array_equal(half.run(inputs)["logits"], expected["logits"])


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_are_valid_and_contain_no_weights(folder: Path, name: str) -> None:
    (model, _) = load_both(folder)
    graph = model.graph(name)
    assert isinstance(graph.model, bytes)
    onnx.checker.check_model(graph.model, full_check=True)
    inputs = {value.name for value in onnx.load_from_string(graph.model).graph.input}
    assert set(graph.weights) < inputs


def test_a_graph_that_cannot_be_read_is_refused_by_both() -> None:
    for backend in (CPU, ONNX_RUNTIME):
        with pytest.raises(Exception, match=r".+"):
            Network(lambda: Graph(b"no graph"), "f32", ["y"], backend=backend).run({"x": np.zeros(1, np.float32)})


@pytest.mark.parametrize(("device", "precision"), [("onnxruntime", "bf16"), ("onnxruntime", "int8")])
def test_a_precision_that_the_device_lacks_is_refused(device: str, precision: str) -> None:
    with pytest.raises(DeviceError, match=rf"{precision} is not supported on the device {device}; .* auto, f32"):
        load("maskery/nano", precision=precision, device=device)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="OpenVINO finds no GPU of Intel with a driver here, only: CPU"):
        open_backend("gpu")
    with pytest.raises(DeviceError, match=r"no support for CUDA: pip uninstall onnxruntime, .*maskery\[cuda\]"):
        open_backend("cuda")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(DeviceError, match=r"cannot use a GPU here, only the CPU; `nvidia-smi`"):
        open_backend("cuda")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, backend_module.__name__, None)
    with pytest.raises(DeviceError, match=r'needs ONNX Runtime: pip install "maskery\[cuda\]"'):
        open_backend("cuda")


def test_auto_is_the_processor_unless_the_package_for_cuda_finds_a_gpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert devices._fastest().device == "cpu"
    assert not caplog.records
    monkeypatch.setattr(devices, "version", lambda _: "1.31")
    assert devices._fastest().device == "cpu"
    assert "networks run on the CPU, although onnxruntime-gpu is installed: MASKERY_DEVICE=cuda" in caplog.text
    monkeypatch.setattr(backend_module, "_find_cuda", lambda: None)
    open_backend.cache_clear()
    try:
        assert devices._fastest().precisions == {"auto": "tf32", "f32": "f32"}
    finally:
        open_backend.cache_clear()


def test_a_model_runs_on_the_device_of_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    read = OnnxRuntime.read
    monkeypatch.setattr(OnnxRuntime, "read", lambda *arguments: used.append(1) or read(*arguments))  # type: ignore[func-returns-value]
    model = load("maskery/nano", device="onnxruntime")
    model.decode(model.encode(image(SIZE)), parse_prompt([[[9, 9]]], SIZE))
    assert used
