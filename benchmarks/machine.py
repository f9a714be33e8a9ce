"""The machine and the versions that a benchmark ran on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import cv2


def describe() -> dict[str, str | int | None]:
    """Processor, cores and versions, for the results of a benchmark."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "processor": processor or platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "opencv": cv2.__version__,
    }
