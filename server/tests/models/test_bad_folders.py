"""Folders that are no model of their family are refused with one sentence each, and nothing is installed."""

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sam_folders import config, random_tensors, write_model, write_safetensors

from maskery.models import Store, StoreError
from maskery.models.families import FAMILIES
from maskery.models.files import read_config
from maskery.models.sam.config import UnsupportedModel

Spoil = Callable[[Path], object]

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n"


def without(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def written(name: str, content: str | bytes) -> Spoil:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(data)


def configured(path: str, value: Any) -> Spoil:
    """With another value of a field of `config.json`."""

    def spoil(folder: Path) -> None:
        file = folder / "config.json"
        document = json.loads(file.read_text())
        *parents, last = path.split(".")
        inner = document
        for name in parents:
            inner = inner.setdefault(name, {})
        inner[last] = value
        file.write_text(json.dumps(document))

    return spoil


def renamed(name: str) -> Spoil:
    return lambda folder: (folder / "model.safetensors").rename(folder / name)


def original(folder: Path) -> None:
    """As the authors publish it: a pickle and a file for their own program."""
    for path in folder.iterdir():
        path.unlink()
    (folder / "sam2.1_hiera_tiny.pt").write_bytes(b"PK")
    (folder / "sam2.1_hiera_t.yaml").write_text("model: {}")


def truncated(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(100_000)


def lacking(*names: str) -> Spoil:
    def spoil(folder: Path) -> None:
        tensors = {name: tensor for name, tensor in random_tensors(folder).items() if name not in names}
        write_safetensors(folder / "model.safetensors", tensors)

    return spoil


def replaced(name: str, tensor: np.ndarray) -> Spoil:
    return lambda folder: write_safetensors(folder / "model.safetensors", {**random_tensors(folder), name: tensor})


def for_videos_only(folder: Path) -> None:
    """The part of a video model that it does not share with the model for images."""
    names = ("memory_attention.layers.0.linear1.weight", "mask_downsample.weight", "object_pointer_proj.proj_in.weight")
    write_safetensors(folder / "model.safetensors", {name: np.zeros((4, 4), np.float32) for name in names})


ANY_FAMILY: dict[str, tuple[Spoil, str]] = {
    "no config": (without("config.json"), "has no config.json"),
    "no weights": (without("model.safetensors"), "has no model.safetensors"),
    "no preprocessor": (without("preprocessor_config.json"), "has no preprocessor_config.json"),
    "preprocessor no object": (
        written("preprocessor_config.json", "[1]"),
        "preprocessor_config.json is not a JSON object",
    ),
    "config no JSON": (written("config.json", "{"), "config.json is not JSON"),
    "config a pointer": (written("config.json", POINTER), "config.json is not JSON"),
    "config no object": (written("config.json", "[]"), "config.json is not a JSON object"),
    "another type": (configured("model_type", "sam3"), "has the model type 'sam3'; supported are sam, sam_hq, sam2"),
    "type of a part": (configured("model_type", "sam2_hiera_det_model"), "the model type 'sam2_hiera_det_model'"),
    "type no text": (configured("model_type", ["sam2"]), "has the model type ['sam2']"),
    "part no object": (configured("vision_config", [1]), "does not describe a network"),
    "pickle": (renamed("pytorch_model.bin"), "pytorch_model.bin, a pickle"),
    "the authors' own format": (original, "has no config.json, as transformers saves it"),
    "cut off": (truncated, "cut off"),
    "a pickle in disguise": (written("model.safetensors", b"\x80\x04pickle"), "not a safetensors file"),
    "a pointer": (written("model.safetensors", POINTER), "git lfs pull"),
}

OWN: list[tuple[str, Spoil, str]] = [
    ("sam", configured("vision_config.hidden_size", 1e400), "does not describe a network"),
    ("sam_hq", configured("vision_config.num_hidden_layers", 10**9), "layers"),
    ("sam_hq", configured("vision_config.num_hidden_layers", 3), "lacks vision_encoder.layers.2"),
    (
        "sam_hq",
        lacking("mask_decoder.hq_token.weight", "vision_encoder.pos_embed"),
        "lacks vision_encoder.pos_embed and 1 more",
    ),
    (
        "sam_hq",
        replaced("mask_decoder.hq_token.weight", np.zeros((2, 16), "f4")),
        "mask_decoder.hq_token.weight is 2 × 16; config.json says 1 × 16",
    ),
    ("sam", configured("model_type", "sam_hq"), "hq_token.weight and 24 more of the 200 tensors of sam_hq"),
    ("sam_hq", configured("model_type", "sam2"), "does not describe a network"),
    ("sam2", configured("model_type", "edgetam"), "lacks vision_encoder.backbone.timm_model"),
    ("sam2", lacking("no_memory_embedding"), "lacks no_memory_embedding of the"),
    (
        "sam2",
        replaced("mask_decoder.obj_score_token.weight", np.zeros((1, 8), "f4")),
        "obj_score_token.weight is 1 × 8; config.json says 1 × 16",
    ),
    ("sam2", replaced("no_memory_embedding", np.zeros((1, 1, 16))), "no_memory_embedding is of type F64"),
    ("sam2", configured("vision_config.backbone_config.blocks_per_stage", [1, 2, 10**9, 1]), "between 4 and 512"),
    ("sam2", configured("vision_config.backbone_config.blocks_per_stage", [1, 2, 3, 1]), "blocks.6"),
    ("sam2", configured("vision_config.backbone_config.mlp_ratio", math.nan), "does not describe a network"),
    ("sam2", configured("mask_decoder_config.iou_head_depth", 10**9), "between 2 and 512"),
    ("sam2", configured("mask_decoder_config.num_multimask_outputs", 10**9), "between 1 and 512"),
    ("sam2_video", for_videos_only, "lacks shared_image_embedding.positional_embedding"),
    ("sam2_video", configured("prompt_encoder_config.image_size", 96), "image_size differ"),
    ("edgetam", lacking("vision_encoder.backbone.timm_model.stem.conv1.bn.running_var"), "running_var of the"),
    (
        "edgetam",
        replaced("vision_encoder.neck.convs.0.bias", np.zeros(8, "f4")),
        "convs.0.bias is 8; config.json says 16",
    ),
    (
        "edgetam",
        configured("vision_config.backbone_config", {"architecture": "repvit_m3.dist_in1k"}),
        "the backbone 'repvit_m3.dist_in1k'; only repvit_m1 is supported",
    ),
    ("edgetam_video", for_videos_only, "724 more of the 725 tensors of edgetam_video"),
    ("edgetam", written("preprocessor_config.json", '{"size": {"height": 32, "width": 32}}'), "scaled to 32 pixels"),
]


def refusal(folder: Path, store: Store) -> str:
    with pytest.raises(StoreError) as caught:
        store.install_from_folder("mine", folder)
    assert store.installed() == []
    assert not [path for path in store.folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    said = str(caught.value)
    assert "\n" not in said
    assert 20 < len(said) < 400
    return said


@pytest.mark.parametrize("architecture", ["sam_hq", "sam2", "edgetam"])
@pytest.mark.parametrize("mistake", ANY_FAMILY)
def test_a_mistake_of_any_family_is_named(tmp_path: Path, own_home: Path, architecture: str, mistake: str) -> None:
    spoil, says = ANY_FAMILY[mistake]
    folder = write_model(tmp_path / "mine", architecture)
    spoil(folder)
    assert says in refusal(folder, Store(own_home / "models"))


@pytest.mark.parametrize(("architecture", "spoil", "says"), OWN, ids=[f"{kind}: {says}" for kind, _, says in OWN])
def test_a_mistake_of_one_family_is_named(
    tmp_path: Path, own_home: Path, architecture: str, spoil: Spoil, says: str
) -> None:
    folder = write_model(tmp_path / "mine", architecture)
    spoil(folder)
    assert says in refusal(folder, Store(own_home / "models"))


def paths(document: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in document.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from paths(value, (*above, name))


@pytest.mark.parametrize("architecture", ["sam_hq", "sam2", "edgetam"])
def test_whatever_a_field_holds_only_one_kind_of_error_is_raised(tmp_path: Path, architecture: str) -> None:
    whole = config(architecture)
    whole["mask_decoder_config"] |= {"num_multimask_outputs": 3, "iou_head_depth": 3, "attention_downsample_rate": 2}
    whole["vision_config"].setdefault("backbone_config", {})
    if architecture == "sam2":
        whole["vision_config"]["backbone_config"] |= {"mlp_ratio": 4.0, "patch_stride": [4, 4], "query_stride": [2, 2]}
    for path in paths(whole):
        for value in (None, -1, 0, 1, 2.5, 10**9, math.inf, math.nan, "many", [], [0], [[]], {}, True):
            document = copy.deepcopy(whole)
            inner = document
            for name in path[:-1]:
                inner = inner[name]
            inner[path[-1]] = value
            (tmp_path / "config.json").write_text(json.dumps(document))
            try:
                sizes = read_config(tmp_path)
                shapes = FAMILIES[sizes.architecture].shapes(sizes)
            except UnsupportedModel:
                continue
            except Exception as error:
                raise AssertionError(f"{'.'.join(path)} = {value!r}") from error
            assert len(shapes) < 10_000
