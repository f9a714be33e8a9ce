import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sam_folders import SHARED, config, random_tensors, write_model, write_raw, write_safetensors

from maskery.models.sam.config import SamConfig, UnsupportedModel, read_document
from maskery.models.sam.weights import Weights, check, digest, expected_shapes

NEW = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def verify(weights: Weights, config: SamConfig) -> None:
    check(weights, expected_shapes(config), config.architecture)


def test_tensors_are_read_as_they_were_written(tmp_path: Path) -> None:
    file, tensor = tmp_path / "t.safetensors", np.arange(-6, 6, dtype=np.float32).reshape(3, 4) / 4
    brain = (tensor.view(np.uint32) >> 16).astype(np.uint16)
    tensors = {
        "a": tensor,
        "b": tensor.astype(np.float16),
        "c": brain,
        "d": np.zeros((0, 3), np.float32),
        "e": tensor[0, 0],
    }
    write_safetensors(file, tensors, c="BF16")
    weights = Weights.open(file)
    for name in "abc":
        found = weights.array(name)
        np.testing.assert_array_equal(found, tensor)
        assert found.dtype == np.float32
    assert weights.array("d").shape == (0, 3)
    assert weights.array("e") == tensor[0, 0]
    assert not weights.array("a").flags.owndata
    info = weights.tensors["b"]
    assert file.read_bytes()[info.offset : info.offset + info.nbytes] == tensor.astype(np.float16).tobytes()
    with pytest.raises(KeyError):
        weights.array("f")


def test_files_of_the_safetensors_library_are_read(tmp_path: Path) -> None:
    from safetensors import numpy as library

    tensors = {"a": np.ones((2, 3), np.float32), "b": np.full(5, 0.5, np.float16)}
    library.save_file(tensors, tmp_path / "t.safetensors", metadata={"format": "pt"})
    weights = Weights.open(tmp_path / "t.safetensors")
    assert set(weights.tensors) == {"a", "b"}
    np.testing.assert_array_equal(weights.array("b"), tensors["b"])


@pytest.mark.parametrize(
    ("header", "data", "says"),
    [
        (b"[]", b"", "not a safetensors file"),
        (b"{", b"", "not a safetensors file"),
        (b"[" * 100_000, b"", "not a safetensors file"),
        (b"\xff{}", b"", "not a safetensors file"),
        (b'{"a": {}, "a": {}}', b"", "not a safetensors file"),
        ({"a": 1}, b"", "invalid entry for a"),
        ({"a": {**NEW, "dtype": "F31"}}, bytes(8), "invalid entry for a"),
        ({"a": {**NEW, "dtype": ["F32"]}}, bytes(8), "invalid entry for a"),
        ({"a": {**NEW, "shape": [3]}}, bytes(8), "invalid entry for a"),
        ({"a": {**NEW, "shape": [-2]}}, bytes(8), "invalid entry for a"),
        ({"a": {**NEW, "shape": [True, 2]}}, bytes(8), "invalid entry for a"),
        ({"a": {**NEW, "shape": [2.0]}}, bytes(8), "invalid entry for a"),
        ({"a": {**NEW, "data_offsets": [8, 0]}}, bytes(8), "invalid entry for a"),
        ({"a": {**NEW, "data_offsets": [0]}}, bytes(8), "invalid entry for a"),
        ({"a": {**NEW, "shape": [2**40, 2**40], "data_offsets": [0, 2**82]}}, b"", "invalid entry for a"),
        ({"a": {**NEW, "data_offsets": [8, 16]}}, bytes(16), "a does not begin where"),
        ({"a": NEW, "b": NEW}, bytes(8), "b does not begin where"),
        ({"a": NEW}, bytes(7), "cut off: it has 76 of 77 bytes"),
        ({"a": NEW}, bytes(9), "continues after its last tensor"),
    ],
)
def test_an_invalid_header_is_refused(tmp_path: Path, header: Any, data: bytes, says: str) -> None:
    write_raw(tmp_path / "t.safetensors", header, data)
    with pytest.raises(UnsupportedModel, match=says):
        Weights.open(tmp_path / "t.safetensors")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a safetensors file"),
        (b"\x01", "not a safetensors file"),
        (b"\x80\x02}q\x00.pickle, not tensors", "not a safetensors file"),
        ((2**63).to_bytes(8, "little") + b"{}", "not a safetensors file"),
        ((50).to_bytes(8, "little") + b"{}", "cut off: its header has 50 bytes, the file 10"),
    ],
)
def test_a_file_in_another_format_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "t.safetensors").write_bytes(content)
    with pytest.raises(UnsupportedModel, match=says):
        Weights.open(tmp_path / "t.safetensors")


@pytest.mark.parametrize("architecture", ["sam", "sam_hq"])
def test_a_truncated_file_is_refused(tmp_path: Path, architecture: str) -> None:
    file = write_model(tmp_path, architecture) / "model.safetensors"
    whole = file.read_bytes()
    for length in (0, 7, 8, 100, 20_000, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(UnsupportedModel):
            Weights.open(file)


def test_the_shared_matrix_has_both_its_names(tmp_path: Path) -> None:
    weights = Weights.open(write_model(tmp_path) / "model.safetensors")
    assert weights.tensors[SHARED] == weights.tensors["shared_image_embedding.positional_embedding"]
    verify(weights, SamConfig.parse(read_document(tmp_path / "config.json")))


def test_missing_tensors_and_wrong_shapes_and_types_are_named(tmp_path: Path) -> None:
    file = write_model(tmp_path) / "model.safetensors"
    config, tensors = SamConfig.parse(read_document(tmp_path / "config.json")), random_tensors(tmp_path)
    embedding = "vision_encoder.pos_embed"

    def refusal(changed: dict[str, np.ndarray]) -> str:
        write_safetensors(file, changed)
        with pytest.raises(UnsupportedModel) as caught:
            verify(Weights.open(file), config)
        return str(caught.value)

    without = {name: tensor for name, tensor in tensors.items() if name != embedding}
    assert f"lacks {embedding} of the" in refusal(without)
    assert f"lacks {embedding} and 2 more" in refusal(dict(list(without.items())[:-2]))
    assert "is 1 × 9 × 8 × 32; config.json says 1 × 8 × 8 × 32" in refusal(
        {**tensors, embedding: np.zeros((1, 9, 8, 32), np.float32)}
    )
    assert "is of type F64" in refusal({**tensors, embedding: tensors[embedding].astype(np.float64)})
    write_safetensors(file, {**tensors, "something.else": np.zeros(3)})
    verify(Weights.open(file), config)


@pytest.mark.parametrize(
    ("kind", "size", "tensors", "numbers"),
    [
        ("sam", (768, 12, 12), 315, 93_735_984),
        ("sam_hq", (768, 12, 12), 340, 94_807_088),
        ("sam", (1024, 24, 16), 483, 312_343_344),
        ("sam_hq", (1024, 24, 16), 508, 313_676_592),
        ("sam", (1280, 32, 16), 595, 641_091_120),
        ("sam_hq", (1280, 32, 16), 620, 642_686_512),
    ],
)
def test_the_shapes_are_those_that_transformers_saves(
    kind: str, size: tuple[int, int, int], tensors: int, numbers: int
) -> None:
    """Counted from the state dictionaries of transformers 5.23, the shared matrix twice."""
    hidden, layers, heads = size
    attending = range(layers // 4 - 1, layers, layers // 4)
    vision = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
    document = {"model_type": kind, "vision_config": {**vision, "global_attn_indexes": list(attending)}}
    shapes = expected_shapes(SamConfig.parse(document))
    assert len(shapes) == tensors
    assert sum(math.prod(shape) for shape in shapes.values()) == numbers


def test_the_downsample_rate_applies_to_the_final_attention_only() -> None:
    document = config()
    document["mask_decoder_config"]["attention_downsample_rate"] = 4
    shapes = expected_shapes(SamConfig.parse(document))
    transformer = "mask_decoder.transformer"
    assert shapes[f"{transformer}.layers.1.cross_attn_token_to_image.q_proj.weight"] == (8, 16)
    assert shapes[f"{transformer}.final_attn_token_to_image.q_proj.weight"] == (4, 16)


def test_a_config_of_a_billion_layers_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="layers"):
        expected_shapes(SamConfig.parse(config(num_hidden_layers=10**9)))


def test_the_digest_is_the_sha256_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    seen: list[int] = []
    assert digest(tmp_path / "file", seen.append) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert seen == [3]
