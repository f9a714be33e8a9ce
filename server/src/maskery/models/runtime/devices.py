"""Chooses the backend for a device, and the precision that it computes in."""

import functools
import logging
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from maskery.models.errors import DeviceError
from maskery.models.runtime.backend import Backend, Precision

_log = logging.getLogger(__name__)


@functools.cache
def open_backend(device: str) -> Backend:
    """The backend for a value of the setting `device`.

    ``auto`` is cuda if the package for it is installed and finds a GPU, else cpu: that package is of no other use, and
    a model is many times faster there. A GPU of Intel is not chosen, because it is often slower than the processor
    beside it.

    Raises:
        DeviceError: the device, or the package that it needs, is not there; the message says how to get it.
    """
    # Each backend imports its library, which takes a quarter of a second and memory.
    if device in {"cpu", "gpu"}:
        from maskery.models.runtime.openvino import OpenVino  # noqa: PLC0415

        return OpenVino(device)
    if device == "auto":
        return _fastest()
    try:
        from maskery.models.runtime.onnxruntime import OnnxRuntime  # noqa: PLC0415
    except ImportError:
        extra = '"maskery[cuda]"' if device == "cuda" else "onnxruntime"
        raise DeviceError(f"MASKERY_DEVICE={device} needs ONNX Runtime: pip install {extra}") from None
    return OnnxRuntime(device)


def _fastest() -> Backend:
    try:
        version("onnxruntime-gpu")
    except PackageNotFoundError:
        return open_backend("cpu")
    try:
        return open_backend("cuda")
    except DeviceError as error:
        _log.warning("networks run on the CPU, although onnxruntime-gpu is installed: %s", error)
        return open_backend("cpu")


def choose_precision(setting: str, backend: Backend) -> Precision:
    """The precision that a backend computes in, for a value of the setting `precision`.

    Raises:
        DeviceError: the backend does not support it.
    """
    if setting not in backend.precisions:
        raise DeviceError(
            f"MASKERY_PRECISION={setting} is not supported on the device {backend.device}; "
            f"supported are {', '.join(backend.precisions)}"
        )
    return backend.precisions[setting]


def best_precision() -> Precision:
    """bf16 if the processor computes in it, else f32."""
    return choose_precision("auto", open_backend("cpu"))


def multiplies_int8(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has instructions for products of 8-bit integers (VNNI, AMX); True where that is unknown.

    Without them int8 was measured to be no faster than f32.
    """
    try:
        flags = re.findall(r"^(?:flags|Features)\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE)
    except OSError:
        return True
    known = {"avx512_vnni", "avx_vnni", "amx_int8", "i8mm", "asimddp"}
    return not flags or not known.isdisjoint(flags[0].split())
