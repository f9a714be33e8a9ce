"""What an interrupted command has done, so that the same command continues."""

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

from maskery.errors import UserError


class Journal:
    """A file with a line of JSON for each image that is done. Thread-safe.

    A line is appended when an image's results have been written. A line that a killed process or a full disk has cut
    off is ignored. Each has a key of the image's bytes and of everything that was asked, so that a changed image,
    prompt or option is not taken for done.

    Args:
        path: of the file; None: nothing is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._done: dict[str, Any] = {}
        if path and path.is_file():
            for line in path.read_bytes().splitlines():
                try:
                    key, result = json.loads(line)
                except ValueError:
                    continue
                self._done[key] = result

    def __len__(self) -> int:
        return len(self._done)

    def find(self, key: str) -> Any:
        """The result of an image that is done, else None."""
        return self._done.get(key)

    def add(self, key: str, result: object) -> None:
        """Note that an image is done. Raises UserError if the file cannot be written.

        Args:
            result: JSON, not None.
        """
        if not self._path:
            return
        # A line of its own even after one that was cut off.
        line = f"\n{json.dumps([key, result])}\n".encode()
        try:
            with self._lock:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.open("ab") as file:
                    file.write(line)
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}.") from None

    def remove(self) -> None:
        """Delete the file: everything is done."""
        if self._path:
            self._path.unlink(missing_ok=True)


def key_of(image: bytes, request: object) -> str:
    """The key of an image and of what is asked.

    Args:
        request: JSON.
    """
    digest = hashlib.sha256(image)
    digest.update(json.dumps(request, sort_keys=True).encode())
    return digest.hexdigest()
