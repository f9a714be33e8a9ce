"""The graphs are ONNX that other runtimes run too, from the same files."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from sam_cases import SIZES, image
from sam_folders import write_model

from maskery.models.sam.model import Sam, load

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module", params=["sam", "sam_hq"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Sam, Path]:
    folder = tmp_path_factory.mktemp("model")
    write_model(folder, request.param, seed=1)
    return load("a/b", folder, "r", "f32"), folder


def elsewhere(folder: Path, graph: str, inputs: Arrays) -> Arrays:
    (path,) = folder.glob(f"graph-*-{graph}.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def test_onnx_runtime_encodes_alike(model: tuple[Sam, Path]) -> None:
    ours, folder = model
    subject = image(SIZES[1])
    kept = ours.encode(subject).arrays
    theirs = elsewhere(folder, "encode", {"pixel_values": ours.processor.pixel_values(subject)})
    assert set(theirs) == set(kept)
    for name, array in kept.items():
        np.testing.assert_allclose(array, theirs[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("graph", "objects", "tokens"), [("decode", 1, 2), ("decode", 3, 7), ("decode-masks", 2, 4)])
def test_onnx_runtime_decodes_alike(model: tuple[Sam, Path], graph: str, objects: int, tokens: int) -> None:
    ours, folder = model
    rng = np.random.default_rng(0)
    inputs: Arrays = {
        **ours.encode(image(SIZES[1])).arrays,
        "prompt": rng.standard_normal((objects, tokens, 16)).astype(np.float32),
        "hidden": np.where(rng.random((objects, tokens)) < 0.3, -1e9, 0).astype(np.float32),
    }
    if graph == "decode-masks":
        inputs["masks"] = rng.standard_normal((objects, 1, 32, 32)).astype(np.float32)
    network = ours.networks[graph]
    mine, theirs = network.run(inputs), elsewhere(folder, graph, inputs)
    assert set(mine) == set(theirs)
    for name, array in mine.items():
        np.testing.assert_allclose(array, theirs[name], rtol=1e-3, atol=1e-4)


def test_weights_stay_in_their_own_file(model: tuple[Sam, Path]) -> None:
    _, folder = model
    for path in folder.glob("graph-*.onnx"):
        graph = onnx.load(path, load_external_data=False)
        outside = [each for each in graph.graph.initializer if each.data_location == onnx.TensorProto.EXTERNAL]
        places = {entry.value for each in outside for entry in each.external_data if entry.key == "location"}
        assert places == {"model.safetensors"}
        onnx.checker.check_model(path, full_check=True)
