"""What processes take of the machine, as Linux counts it."""

import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")

# Places in /proc/PID/stat after the name in parentheses, which may hold anything.
_SESSION = 3
_TIMES = slice(11, 15)


def session(leader: int) -> Iterator[int]:
    """Processes of the session that one leads: itself, its children and theirs."""
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            fields = _stat(int(folder.name))
            if fields and int(fields[_SESSION]) == leader:
                yield int(folder.name)


def cpu_seconds(pid: int) -> float:
    """That a process and those of its children that have ended have worked, on all cores together."""
    return sum(map(int, _stat(pid)[_TIMES])) / _TICKS


def memory_bytes(pid: int) -> int:
    """That a process holds; what it shares with others counts for its share."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def busy_seconds() -> float:
    """That all processors together have worked since the machine started, for whomever."""
    user, nice, system, _, _, interrupts, soft = map(int, (_PROC / "stat").read_text().split()[1:8])
    return (user + nice + system + interrupts + soft) / _TICKS


def _stat(pid: int) -> list[str]:
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
