"""The graphs are ONNX that other runtimes run with the same results."""

import numpy as np
import onnx
import onnxruntime
import pytest
from sam_cases import SIZES, image
from sam_folders import write_model

from maskery.models.sam.model import Sam, load

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module", params=["sam", "sam_hq"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sam:
    folder = tmp_path_factory.mktemp("model")
    write_model(folder, request.param, seed=1)
    return load("a/b", folder, "r", "f32")


def run_onnxruntime(model: Sam, name: str, inputs: Arrays) -> Arrays:
    graph = model.build_graph(name)
    session = onnxruntime.InferenceSession(graph.build(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {**graph.weight_arrays(), **inputs}), strict=True))


def test_onnx_runtime_encodes_the_same(model: Sam) -> None:
    subject = image(SIZES[1])
    ours = model.encode(subject).arrays
    theirs = run_onnxruntime(model, "encode", {"pixel_values": model.processor.pixel_values(subject)})
    assert set(theirs) == set(ours)
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("graph", "objects", "tokens"), [("decode", 1, 2), ("decode", 3, 7), ("decode-masks", 2, 4)])
def test_onnx_runtime_decodes_the_same(model: Sam, graph: str, objects: int, tokens: int) -> None:
    rng = np.random.default_rng(0)
    inputs: Arrays = {
        **model.encode(image(SIZES[1])).arrays,
        "prompt": rng.standard_normal((objects, tokens, 16)).astype(np.float32),
        "attn_mask": np.where(rng.random((objects, tokens)) < 0.3, -1e9, 0).astype(np.float32),
    }
    if graph == "decode-masks":
        inputs["masks"] = rng.standard_normal((objects, 1, 32, 32)).astype(np.float32)
    ours, theirs = model.networks[graph].run(inputs), run_onnxruntime(model, graph, inputs)
    assert set(ours) == set(theirs)
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["encode", "decode", "decode-masks"])
def test_graphs_are_valid_and_contain_no_weights(model: Sam, name: str) -> None:
    graph = model.build_graph(name)
    data = graph.build()
    onnx.checker.check_model(data, full_check=True)
    inputs = {value.name for value in onnx.load_from_string(data).graph.input}
    assert set(graph.weight_names) <= inputs
