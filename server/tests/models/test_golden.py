"""Compares SAM and SAM-HQ with outputs of transformers that `make golden` stores."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sam_cases import SIZES, image, prompts
from sam_folders import CACHE, write_model

from maskery.models import DeviceError, StoreError
from maskery.models.compile_cache import compilations
from maskery.models.runtime import Network
from maskery.models.sam import attention
from maskery.models.sam.model import Sam, load
from maskery.segmentation import ObjectPrompt, Size, parse_prompt, segment

GOLDEN = np.load(Path(__file__).with_name("golden.npz"))
STRIDE = 2


@pytest.fixture(scope="module", params=["sam", "sam_hq"])
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(architecture: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    write_model(path, architecture, seed=1)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Sam:
    return load("a/b", folder, "r", "f32", cache=CACHE)


def batches(size: Size) -> list[list[ObjectPrompt]]:
    return list(prompts(size))


@pytest.mark.parametrize("size", SIZES[1:3], ids=str)
def test_candidates_equal_those_of_transformers(model: Sam, architecture: str, size: Size) -> None:
    known = model.encode(image(size))
    logits, scores = (GOLDEN[f"{architecture}-{size}-{what}"] for what in ("logits", "scores"))
    candidates = [each for objects in batches(size) for each in model.decode(known, objects)]
    asked = [each for objects in batches(size) for each in objects]
    assert len(candidates) == len(logits)
    for mine, prompt, expected, expected_scores in zip(candidates, asked, logits, scores, strict=True):
        first = 1 if prompt.is_ambiguous else 0
        own = mine.logits[:, ::STRIDE, ::STRIDE]
        theirs = expected[first:, : own.shape[1], : own.shape[2]]
        assert np.linalg.norm(own - theirs) < 1e-3 * np.linalg.norm(theirs)
        np.testing.assert_allclose(mine.scores, expected_scores[first:].clip(0, 1), atol=1e-4)


def test_an_embedding_does_not_depend_on_the_size_of_the_chunks(
    model: Sam, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = model.encode(image(SIZES[1])).arrays["embedding"]
    # Three chunks, of 6, 6 and 4 rows, for the network's grid of 16.
    monkeypatch.setattr(attention, "_CHUNK_SCORES", 6 * 16**3)
    chunked = load("a/b", folder, "r", "f32").encode(image(SIZES[1])).arrays["embedding"]
    np.testing.assert_allclose(chunked, expected, rtol=1e-4, atol=1e-5)


def test_candidates_do_not_depend_on_other_objects(model: Sam) -> None:
    size = SIZES[1]
    known = model.encode(image(size))
    everything = [each for objects in batches(size) for each in objects]
    together = model.decode(known, everything)
    for each, mine in zip(everything, together, strict=True):
        (alone,) = model.decode(known, [each])
        np.testing.assert_array_equal(alone.logits, mine.logits)


def test_embeddings_in_bf16_have_half_the_size(folder: Path) -> None:
    size = SIZES[0]
    half, full = (load("a/b", folder, "r", precision, cache=CACHE).encode(image(size)) for precision in ("bf16", "f32"))
    assert half.nbytes * 2 == full.nbytes
    assert half.tokens == 64


def test_nothing_is_written_beside_the_weights(folder: Path) -> None:
    before = {path.name for path in folder.iterdir()}
    model = load("a/b", folder, "r", "f32")
    model.decode(model.encode(image(SIZES[1])), batches(SIZES[1])[0])
    assert {path.name for path in folder.iterdir()} == before


def test_no_number_of_points_or_objects_needs_another_compilation(model: Sam) -> None:
    size = SIZES[1]
    embedding = model.encode(image(size))
    for objects in (1, 2, 4):
        model.decode(embedding, parse_prompt([[[9, 9]]] * objects, size))
    before = compilations.total
    for points in range(1, 16):
        for objects in (1, 2, 3, 4, 5):
            model.decode(embedding, parse_prompt([[[9, 9]] * points] * objects, size))
    assert compilations.total == before


def test_a_network_runs_while_it_is_compiled_for_another_shape(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("a/b", folder, "r", "f32", cache=CACHE)
    size = SIZES[1]
    embedding = model.encode(image(size))
    one, two = (parse_prompt([[[9, 9]]] * objects, size) for objects in (1, 2))
    model.decode(embedding, one)
    begun, go_on = threading.Event(), threading.Event()
    compile_graph = Network._compile

    def slowly(network: Network, shapes: Any) -> Any:
        begun.set()
        assert go_on.wait(10)
        return compile_graph(network, shapes)

    monkeypatch.setattr(Network, "_compile", slowly)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(model.decode, embedding, two)
        assert begun.wait(10)
        model.decode(embedding, one)
        go_on.set()
        assert len(waiting.result()) == 2


def test_a_failed_compilation_is_repeated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("a/b", folder, "r", "f32")
    with monkeypatch.context() as patch:
        patch.setattr(model, "_build_encoder", fail)
        with pytest.raises(ArithmeticError):
            model.encode(image(SIZES[1]))
    assert model.encode(image(SIZES[1])).tokens == 64


def fail(*_: object) -> None:
    raise ArithmeticError


def test_compiled_networks_are_cached_and_a_damaged_one_is_replaced(folder: Path, tmp_path: Path) -> None:
    subject = image(SIZES[1])
    expected = load("a/b", folder, "r", "f32").encode(subject).arrays["embedding"]
    for _ in range(2):
        model = load("a/b", folder, "r", "f32", cache=tmp_path / "cache")
        np.testing.assert_array_equal(model.encode(subject).arrays["embedding"], expected)
        (kept,) = (tmp_path / "cache").rglob("*.blob")
        kept.chmod(0o600)
        kept.write_bytes(kept.read_bytes()[:1000])


def test_a_network_compiled_for_another_precision_is_not_read_from_the_cache(folder: Path, tmp_path: Path) -> None:
    subject = image(SIZES[1])
    for precision in ("f32", "bf16", "f32"):
        expected = load("a/b", folder, "r", precision).encode(subject).arrays["embedding"]
        cached = load("a/b", folder, "r", precision, cache=tmp_path / "cache").encode(subject).arrays["embedding"]
        np.testing.assert_array_equal(cached, expected)
    assert len([*(tmp_path / "cache").rglob("*.blob")]) == 2


def test_a_cache_that_cannot_be_written_is_not_used(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    model = load("a/b", folder, "r", "f32", cache=tmp_path / "file" / "cache")
    assert model.encode(image(SIZES[1])).tokens == 64


@pytest.mark.parametrize("change", ["remove", "replace"])
def test_a_model_that_is_removed_or_replaced_can_still_be_used(tmp_path: Path, change: str) -> None:
    """Requests that hold it finish, also those that need another shape."""
    folder = write_model(tmp_path / "model", "sam", seed=1)
    size = SIZES[1]
    model = load("a/b", folder, "r", "f32")
    embedding = model.encode(image(size))
    model.decode(embedding, parse_prompt([[[9, 9]]], size))
    folder.rename(tmp_path / "old")
    shutil.rmtree(tmp_path / "old")
    if change == "replace":
        write_model(folder, "sam", seed=2)
    assert len(model.decode(embedding, parse_prompt([[[9, 9]]] * 2, size))) == 2


def test_an_unknown_precision_is_refused(folder: Path) -> None:
    with pytest.raises(DeviceError, match="supported are auto, f32, bf16, int8"):
        load("a/b", folder, "r", "f64")


def test_the_hq_token_alone_is_an_option(tmp_path: Path) -> None:
    write_model(tmp_path, "sam_hq", seed=1)
    both, alone = (load("a/b", tmp_path, "r", "f32", only, CACHE) for only in (False, True))
    assert both.revision != alone.revision
    known = both.encode(image(SIZES[1]))
    objects = batches(SIZES[1])[0]
    (mixed,), (own,) = both.decode(known, objects), alone.decode(known, objects)
    assert (own.logits[0] == own.logits[1]).all()
    assert not np.allclose(mixed.logits, own.logits)


@pytest.mark.parametrize("size", [Size(5000, 1), Size(1, 5000), Size(129, 1)], ids=str)
def test_very_thin_images_are_segmented(model: Sam, size: Size) -> None:
    result = segment(model, image(size), parse_prompt([[[0, 0]]], size))
    assert result.masks[0].size == size


def test_weights_that_change_while_a_model_is_loaded_are_an_error(tmp_path: Path) -> None:
    write_model(tmp_path, "sam", seed=1)
    model = load("a/b", tmp_path, "r", "f32")
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(StoreError, match="install the model again"):
        model.encode(image(SIZES[0]))
