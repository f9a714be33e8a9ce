"""The files that a model consists of: which are needed, and whether they describe a network that can be run."""

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from maskery.models.families import FAMILIES, NetworkConfig
from maskery.models.sam.config import UnsupportedModel, read_document
from maskery.models.sam.processing import Processor
from maskery.models.sam.weights import Weights, check

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"

# Either describes the preprocessing: transformers 5 writes the second.
PREPROCESSING = ("preprocessor_config.json", "processor_config.json")

_PART = re.compile(r"[A-Za-z0-9][\w.-]*\.safetensors")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def resolve_folder(folder: Path) -> Path:
    """The folder with the files: the newest snapshot if this is a repository in the cache of huggingface_hub.

    Raises:
        UnsupportedModel: the repository has no snapshot.
    """
    snapshots = folder / "snapshots"
    if (folder / CONFIG).exists() or not snapshots.is_dir():
        return folder
    main = folder / "refs" / "main"
    if main.is_file() and (snapshots / main.read_text().strip()).is_dir():
        return snapshots / main.read_text().strip()
    newest = max(snapshots.iterdir(), key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        raise UnsupportedModel(f"{folder} has no snapshot of the repository")
    return newest


def needed_files(names: Collection[str], where: str) -> list[str]:
    """The files to install apart from the parts of sharded weights, the smallest first.

    Raises:
        UnsupportedModel: a file is missing; the message says which, and what is there in its place.
    """
    if CONFIG not in names:
        raise UnsupportedModel(f"{where} has no {CONFIG}, as transformers saves it beside {WEIGHTS}")
    weights = WEIGHTS if WEIGHTS in names else INDEX
    if weights not in names:
        pickles = sorted(name for name in names if name.endswith(_PICKLES))
        if pickles:
            raise UnsupportedModel(
                f"{where} has its weights as {pickles[0]}, a pickle, which can run any program when opened: "
                f"save them as {WEIGHTS}"
            )
        raise UnsupportedModel(f"{where} has no {WEIGHTS}")
    preprocessing = [name for name in PREPROCESSING if name in names]
    if not preprocessing:
        raise UnsupportedModel(f"{where} has no {PREPROCESSING[0]}, which describes how images are prepared")
    return [CONFIG, *preprocessing, weights]


def weight_parts(index: Path) -> list[str]:
    """The files of sharded weights.

    Raises:
        UnsupportedModel: the index is invalid.
    """
    document = _read_json(index)
    parts = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(parts, dict) or not parts:
        raise UnsupportedModel(f"{index.name} does not say in which files the weights are")
    names = list(dict.fromkeys(parts.values()))
    for name in names:
        if not isinstance(name, str) or not _PART.fullmatch(name):
            raise UnsupportedModel(f"{index.name} has {name!r} as a file of weights")
    return names


def read_config(folder: Path) -> NetworkConfig:
    """Read `config.json`.

    Raises:
        UnsupportedModel: it does not describe a supported network.
    """
    document = read_document(folder / CONFIG)
    kind = document.get("model_type")
    family = FAMILIES.get(kind) if isinstance(kind, str) else None
    if family is None:
        raise UnsupportedModel(f"{CONFIG} has the model type {kind!r}; supported are {', '.join(FAMILIES)}")
    return family.parse(document)


def check_weights(path: Path, config: NetworkConfig) -> None:
    """Check that a file of weights holds the tensors of the network.

    Raises:
        UnsupportedModel: names the first tensor that is missing or different.
        OSError: the file cannot be read.
    """
    check(Weights.open(path), FAMILIES[config.architecture].shapes(config), config.architecture)


def check_preprocessing(folder: Path, config: NetworkConfig) -> None:
    """Check that images can be prepared as the preprocessor's files say.

    Raises:
        UnsupportedModel: they cannot, or a file is invalid.
    """
    for name in PREPROCESSING:
        if (folder / name).is_file() and not isinstance(_read_json(folder / name), dict):
            raise UnsupportedModel(f"{name} is not a JSON object")
    Processor.read(folder, config.image_size, FAMILIES[config.architecture].keep_aspect)


def verify(folder: Path) -> NetworkConfig:
    """Check everything that can be checked without running the network.

    Raises:
        UnsupportedModel: the files are incomplete, inconsistent or not supported.
    """
    config = read_config(folder)
    check_weights(folder / WEIGHTS, config)
    check_preprocessing(folder, config)
    return config


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
