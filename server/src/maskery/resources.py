"""What the machine, or the control groups around this process, let it use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

# For tests, which have control groups of their own.
_ROOT = Path("/")

# Quotas stand in microseconds.
_QUOTA_PERIOD = 100_000


def processors(root: Path = _ROOT) -> int:
    """Processors that this process may use: a container or a service may have been given fewer than there are.

    A quota in time counts as that many processors, rounded up.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([available, *map(math.ceil, _quotas(root))])


def memory(root: Path = _ROOT) -> int:
    """Bytes of memory that this process may use: all of it, or what the narrowest control group around it has."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 * 2**30
    files = ("memory.max", "memory.limit_in_bytes")
    limits = (_number(group / file) for group in _groups(root, "memory") for file in files)
    return min([installed, *filter(None, limits)])


def _quotas(root: Path) -> Iterator[float]:
    """Processors' worth of time that each control group around this process has, where it is limited."""
    for group in _groups(root, "cpu"):
        # Version 2: both numbers in one line, the first "max" without a limit. Version 1: -1 without one.
        quota, _, period = _text(group / "cpu.max").partition(" ")
        quota = quota or _text(group / "cpu.cfs_quota_us")
        period = period or _text(group / "cpu.cfs_period_us")
        if quota.isdecimal() and int(quota):
            yield int(quota) / (int(period) if period.isdecimal() and int(period) else _QUOTA_PERIOD)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the control groups that this process is in, from its own to the one around all.

    A service's limit stands at its own group or a slice above it; a container's may stand at what it sees as the
    uppermost one, whatever path the kernel tells. Folders that are not there are among them.
    """
    # A line is NUMBER:CONTROLLERS:PATH, in version 2 without controllers: cgroups(7).
    for line in (_text(root / "proc/self/cgroup") or f"0::/\n1:{controller}:/").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            # Beside version 1, version 2 has a folder of its own.
            hierarchies = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
        elif controller in controllers.split(","):
            hierarchies = [root / "sys/fs/cgroup" / controller]
        else:
            continue
        own = Path(path).relative_to("/")
        for hierarchy in hierarchies:
            yield from (hierarchy / group for group in (own, *own.parents))


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text.isdecimal() else None


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
