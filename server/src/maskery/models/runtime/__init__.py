"""Runs ONNX graphs: `Network`, by the backend of a device."""

import sys

from maskery.models.compile_cache import compilations
from maskery.models.runtime.backend import Arrays, Backend, Graph, Precision
from maskery.models.runtime.devices import best_precision, choose_precision, multiplies_int8, open_backend
from maskery.models.runtime.network import Network, pad_rows

# The Python tools of OpenVINO and NNCF report their use to a server, and fork a process to do so, unless the package
# for it cannot be imported. No module here imports them before it is used.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

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
]
