"""Runs ONNX graphs."""

from maskery.models.compile_cache import compilations
from maskery.models.runtime.network import (
    Arrays,
    Graph,
    Network,
    Precision,
    best_precision,
    multiplies_int8,
    pad_rows,
    read_file,
    read_onnx,
)

__all__ = [
    "Arrays",
    "Graph",
    "Network",
    "Precision",
    "best_precision",
    "compilations",
    "multiplies_int8",
    "pad_rows",
    "read_file",
    "read_onnx",
]
