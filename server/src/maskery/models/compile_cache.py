"""Keeps compiled networks on disk, so that loading a model again takes less time, and counts compilations."""

import shutil
import threading
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

# A folder is removed when it has not been used for this long.
_MAX_AGE = 30 * 86400.0

# Bytes of all folders together, and bytes that must be free on the disk before anything is kept.
_MAX_BYTES = 4 * 2**30


class Compilations:
    """Counts the compilations of all networks in this process, those read from a cache included."""

    def __init__(self) -> None:
        self.total = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        with self._lock:
            self.total += 1


#: Of this process.
compilations = Compilations()


class CompileCache:
    """Folders for compiled networks, one per revision of a model.

    Compiled networks are only read while a model is loaded or compiled for a new shape, so a folder can be removed at
    any time. It is removed when another revision of the model or another release of OpenVINO is used, when the model is
    removed, when it has not been used for 30 days, and, beginning with the least recently used, when all folders
    together exceed 4 GiB. On a disk that is read-only or has less than 4 GiB left, nothing is kept.

    Args:
        folder: created when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder(self, model: str, revision: str) -> Path | None:
        """The folder for a revision of a model, marked as just used; None: nothing can be kept."""
        parent = self._parent(model)
        folder = parent / f"{revision}-{version('openvino')}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            folder.touch()
            for other in parent.iterdir():
                if other != folder:
                    shutil.rmtree(other, ignore_errors=True)
            self._clean(folder)
            return folder if shutil.disk_usage(folder).free > _MAX_BYTES else None
        except OSError:
            return None

    def remove(self, model: str) -> None:
        """Remove what is kept of a model."""
        shutil.rmtree(self._parent(model), ignore_errors=True)

    def _parent(self, model: str) -> Path:
        return self._folder / model.replace("/", "--")

    def _clean(self, used: Path) -> None:
        others = sorted(
            (path for path in self._folder.glob("*/*") if path != used), key=lambda path: path.stat().st_mtime
        )
        nbytes = {path: _size(path) for path in (*others, used)}
        for path in others:
            if time.time() - path.stat().st_mtime > _MAX_AGE or sum(nbytes.values()) > _MAX_BYTES:
                shutil.rmtree(path, ignore_errors=True)
                del nbytes[path]


def _size(folder: Path) -> int:
    total = 0
    for path in folder.iterdir():
        # Another process may remove it.
        with suppress(OSError):
            total += path.stat().st_size
    return total
