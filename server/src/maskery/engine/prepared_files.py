"""Files of prepared images, by which their ids outlive a server and are valid on others that share the folder."""

import contextlib
import hashlib
import json
import logging
import os
import time
import zlib
from pathlib import Path
from typing import NamedTuple

from maskery.engine.disk_cache import make_private
from maskery.engine.prepared import Prepared

_log = logging.getLogger(__name__)


class PreparedRecord(NamedTuple):
    """What an id stands for. The embedding's file has the rest."""

    digest: str
    model: str
    revision: str
    created: int


class PreparedFiles:
    """A file for each id, which is valid until the file was not used for `time_to_live` seconds. Methods block.

    Args:
        folder: for the folder of these files.
        time_to_live: in seconds.

    Raises:
        OSError: the folder cannot be made, or belongs to another user.
    """

    def __init__(self, folder: Path, time_to_live: float) -> None:
        self._folder = folder / "prepared"
        self.time_to_live = time_to_live
        self._swept = 0.0
        make_private(self._folder)

    def write(self, prepared: Prepared) -> None:
        """Write an id's file. Files that have expired are removed from time to time."""
        key = prepared.key
        text = json.dumps(PreparedRecord(key.digest, key.model, key.revision, prepared.created))
        path = self._path(prepared.id, prepared.account)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            # The folder may be deleted at any time.
            make_private(self._folder)
            self._sweep()
            temporary.write_text(f"{zlib.crc32(text.encode()):08x} {text}")
            temporary.replace(path)
        except OSError as error:
            _log.warning("the prepared image %s is known to this server only: %s", prepared.id, error)

    def read(self, image_id: str, account: str) -> PreparedRecord | None:
        """What an account's id stands for, if its file is there and has not expired. This is a use."""
        path = self._path(image_id, account)
        try:
            if path.stat().st_mtime < time.time() - self.time_to_live:
                return None
            checksum, _, text = path.read_text().partition(" ")
            if f"{zlib.crc32(text.encode()):08x}" != checksum:
                raise ValueError("its checksum is wrong")
            os.utime(path)
            return PreparedRecord(*json.loads(text))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("the file of the prepared image %s cannot be used: %s", image_id, error)
            return None

    def touch(self, image_id: str, account: str) -> None:
        """Count a use of an id."""
        with contextlib.suppress(OSError):
            os.utime(self._path(image_id, account))

    def remove(self, image_id: str, account: str) -> None:
        """Remove an id's file, if it exists."""
        with contextlib.suppress(OSError):
            self._path(image_id, account).unlink()

    def _path(self, image_id: str, account: str) -> Path:
        # The account's name in the digest makes the id of another account unknown.
        return self._folder / hashlib.sha256(f"{account}\0{image_id}".encode()).hexdigest()

    def _sweep(self) -> None:
        now = time.time()
        if now - self._swept < self.time_to_live / 4:
            return
        self._swept = now
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < now - self.time_to_live:
                    path.unlink()
