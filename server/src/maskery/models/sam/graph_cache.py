"""The graphs of a model, written once beside its weights."""

import hashlib
import os
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path

from maskery.models.sam.config import SamConfig
from maskery.models.sam.decoder import write_decoder
from maskery.models.sam.encoder import write_encoder
from maskery.models.sam.graph import Graph
from maskery.models.sam.weights import Weights

_WRITERS: dict[str, Callable[[Graph, SamConfig], None]] = {
    "encode": write_encoder,
    "decode": lambda graph, config: write_decoder(graph, config, with_masks=False),
    "decode-masks": lambda graph, config: write_decoder(graph, config, with_masks=True),
}


def graph_files(folder: Path, weights: Weights, config: SamConfig, revision: str) -> dict[str, Path]:
    """Paths of the graphs ``encode``, ``decode`` and ``decode-masks``, written first where they are not there yet.

    They stand beside the weights, because they refer to them by the file's name, and are named after the weights'
    revision and the code that writes them: graphs of another code or of other weights are never used.

    Raises:
        OSError: the folder cannot be written to.
    """
    key = hashlib.sha256(f"{revision} {_code()}".encode()).hexdigest()[:16]
    paths = {name: folder / f"graph-{key}-{name}.onnx" for name in _WRITERS}
    missing = [name for name, path in paths.items() if not path.is_file()]
    for name in missing:
        graph = Graph(weights)
        _WRITERS[name](graph, config)
        # Whole or not at all, also where two processes write at once.
        draft = paths[name].with_suffix(f".{os.getpid()}.draft")
        graph.save(draft)
        draft.replace(paths[name])
    if missing:
        for old in folder.glob("graph-*.onnx"):
            if old not in paths.values():
                old.unlink(missing_ok=True)
    return paths


def quantised_encoder(folder: Path, revision: str) -> Path:
    """Where the int8 form of the encoder is kept; whole in itself, so it depends on the weights alone."""
    key = hashlib.sha256(revision.encode()).hexdigest()[:16]
    return folder / f"encode-int8-{key}.xml"


@cache
def _code() -> str:
    """Digest of the code that writes graphs, so that changing it cannot leave old ones in use."""
    package = files("maskery.models.sam")
    names = ("config.py", "graph.py", "attention.py", "encoder.py", "decoder.py", "prompts.py")
    return hashlib.sha256(b"".join(package.joinpath(name).read_bytes() for name in names)).hexdigest()
