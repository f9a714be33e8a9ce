"""Runs ONNX graphs: `Network`, by the backend of a device."""

from maskery.models.compile_cache import compilations
from maskery.models.runtime.backend import Arrays, Backend, Graph, Precision, read_file
from maskery.models.runtime.devices import best_precision, choose_precision, multiplies_int8, open_backend
from maskery.models.runtime.network import Network, pad_rows

__all__ = [
    "Arrays",
    "Backend",
    "Graph",
    "Network",
    "Precision",
    "best_precision",
    "choose_precision",
    "compilations",
    "multiplies_int8",
    "open_backend",
    "pad_rows",
    "read_file",
]
