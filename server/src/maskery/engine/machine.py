"""What the machine, or the container on it, lets this process use."""

import os
from pathlib import Path

# Control groups, version 2 and 1: where a container's limit on memory stands.
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def processors() -> int:
    """Processors that this process may use, which a container may have made fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Bytes of memory that this process may use."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 * 2**30
    for file in _CGROUP_LIMITS:
        try:
            limit = int(file.read_text())
        except (OSError, ValueError):
            continue
        return min(limit, installed)
    return installed
