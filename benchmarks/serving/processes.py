"""CPU time and memory of processes, from Linux' /proc."""

import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")

# Fields of /proc/PID/stat after the name in parentheses, which may hold any character.
_SESSION = 3
_TIMES = slice(11, 15)


def session(leader: int) -> Iterator[int]:
    """Process IDs of a session: its leader, the leader's children and theirs."""
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            fields = _stat(int(folder.name))
            if fields and int(fields[_SESSION]) == leader:
                yield int(folder.name)


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process and its ended children, on all cores together."""
    return sum(map(int, _stat(pid)[_TIMES])) / _TICKS


def memory_bytes(pid: int) -> int:
    """Proportional set size of a process: shared memory counts by its share."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process, mapped files included."""
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def busy_seconds() -> float:
    """CPU seconds of all processes since the machine started."""
    user, nice, system, _, _, interrupts, soft = map(int, (_PROC / "stat").read_text().split()[1:8])
    return (user + nice + system + interrupts + soft) / _TICKS


def _stat(pid: int) -> list[str]:
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
