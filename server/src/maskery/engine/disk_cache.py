"""A cache of embeddings on disk, behind the one in memory."""

import contextlib
import hashlib
import itertools
import logging
import mmap
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from maskery.engine.cache import Key, LruCache
from maskery.engine.embedding_file import Damaged, pack, unpack
from maskery.segmentation import Embedding

_log = logging.getLogger(__name__)

# Files that were not used for a day are evicted before an account's share is reduced.
_IDLE_SECONDS = 86400.0

# A write that was not finished after so many seconds was interrupted by the end of its process.
_TEMPORARY_SECONDS = 600.0

# The folder is listed again, for what other servers have written, after this share of its limit has been written here.
_LISTED_SHARE = 64

_TEMPORARY = ".tmp"


class _FileKey(NamedTuple):
    """The path of an embedding's file in the cache's folder: digests, so that it tells neither account nor image."""

    owner: str
    name: str


@dataclass(frozen=True)
class _File:
    nbytes: int


class DiskCache:
    """Files of embeddings in a folder, limited by their bytes. Thread-safe; its methods block.

    Several servers may use one folder. Each finds what the others have written, and evicts the least recently used
    files, with a share for each account, as `LruCache` does. What the others write in the meantime is counted when the
    folder is listed again, so that together they exceed the limit by at most a 64th of it for each other server.

    A file is complete when it appears: it is written under a temporary name and renamed. It is not flushed to the disk:
    what a power failure leaves of it is found out by its checksum. A damaged file is a miss and is removed. A file that
    cannot be written is not an error: the embedding is in memory.

    Args:
        folder: for the cache's folder.
        max_bytes: of all files together.
        version: of the program. Another version's embeddings are not used.

    Attributes:
        hits, misses: since the start.
        damaged: files removed because their contents were not what was written.
        failures: reads and writes that the operating system refused.

    Raises:
        OSError: the folder cannot be made, or belongs to another user.
    """

    def __init__(self, folder: Path, max_bytes: int, version: str) -> None:
        self.folder = folder / "embeddings"
        self.max_bytes = max_bytes
        self.hits = self.misses = self.damaged = self.failures = 0
        self._version = version
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._complained = False
        make_private(self.folder)
        self._index = self._list(None)
        self._written = 0

    def __len__(self) -> int:
        return len(self._index)

    @property
    def nbytes(self) -> int:
        """Of all files, as far as this server knows."""
        return self._index.nbytes

    @property
    def evictions(self) -> int:
        return self._index.evictions

    @property
    def evicted_bytes(self) -> int:
        return self._index.evicted_bytes

    def get(self, key: Key) -> Embedding | None:
        """Read an embedding, which becomes the most recently used."""
        file = self._file_key(key)
        path = self._path(file)
        try:
            memory = _read(path)
            embedding = unpack(file.name, memory)
        except FileNotFoundError:
            embedding = None
        except Damaged as error:
            _log.warning("the cached embedding %s is damaged and is removed: %s", path, error)
            self.damaged += 1
            embedding = None
        except OSError as error:
            self._failed("read from", error)
            self.misses += 1
            return None
        with self._lock:
            if embedding is None:
                self.misses += 1
                self._index.remove(file)
                _remove(path)
            else:
                self.hits += 1
                self._use(file, len(memory))
        return embedding

    def put(self, key: Key, embedding: Embedding) -> None:
        """Write an embedding, unless its file exists, and evict others if necessary."""
        file = self._file_key(key)
        path = self._path(file)
        if embedding.nbytes > self.max_bytes or path.exists():
            return
        memory = pack(file.name, embedding)
        with self._lock:
            self._written += len(memory)
            if self._written > self.max_bytes / _LISTED_SHARE:
                self._index, self._written = self._list(self._index), 0
            # Room is made before the file is written.
            self._index.put(file, _File(len(memory)))
            if file not in self._index:
                return
        temporary = path.with_name(f"{file.name}.{os.getpid()}-{next(self._numbers)}{_TEMPORARY}")
        try:
            # One after the other: the mode concerns only the last folder of a path.
            for folder in (self.folder, path.parent):
                folder.mkdir(0o700, parents=True, exist_ok=True)
            _write(temporary, memory)
            temporary.replace(path)
            self._complained = False
        except OSError as error:
            with self._lock:
                self._index.remove(file)
            _remove(temporary)
            self._failed("written to", error)

    def touch(self, key: Key) -> None:
        """Make an embedding the most recently used, if its file exists."""
        file = self._file_key(key)
        with contextlib.suppress(OSError):
            _note_use(self._path(file))
            with self._lock:
                self._use(file, None)

    def remove(self, key: Key) -> None:
        """Remove an embedding's file, if it exists."""
        file = self._file_key(key)
        with self._lock:
            self._index.remove(file)
        _remove(self._path(file))

    def _file_key(self, key: Key) -> _FileKey:
        owner = hashlib.sha256(key.owner.encode()).hexdigest()[:32]
        parts = (self._version, *key)
        name = hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in map(str.encode, parts))).hexdigest()
        return _FileKey(owner, name)

    def _path(self, file: _FileKey) -> Path:
        return self.folder / file.owner / file.name

    def _use(self, file: _FileKey, nbytes: int | None) -> None:
        if file in self._index:
            self._index.touch(file)
        elif nbytes is not None:
            self._index.put(file, _File(nbytes))

    def _list(self, before: LruCache[_FileKey, _File] | None) -> LruCache[_FileKey, _File]:
        """An index of the files in the folder, of which those that exceed the limit are removed."""
        index: LruCache[_FileKey, _File] = LruCache(
            self.max_bytes, _IDLE_SECONDS, lambda file: _remove(self._path(file))
        )
        if before is not None:
            index.evictions, index.evicted_bytes = before.evictions, before.evicted_bytes
        now, monotonic = time.time(), time.monotonic()
        for changed, file, nbytes in sorted(self._files(now)):
            index.put(file, _File(nbytes), monotonic - max(0.0, now - changed))
        return index

    def _files(self, now: float) -> Iterator[tuple[float, _FileKey, int]]:
        """Time of last use, key and size of each file. Temporary files that were abandoned are removed."""
        for owner in _scan(self.folder):
            for entry in _scan(owner):
                with contextlib.suppress(OSError):
                    stat = entry.stat()
                    if not entry.name.endswith(_TEMPORARY):
                        yield stat.st_mtime, _FileKey(owner.name, entry.name), stat.st_size
                    elif stat.st_mtime < now - _TEMPORARY_SECONDS:
                        _remove(entry)

    def _failed(self, what: str, error: OSError) -> None:
        """Log the first of several failures."""
        self.failures += 1
        if not self._complained:
            self._complained = True
            _log.warning("embeddings cannot be %s %s, and are kept in memory only: %s", what, self.folder, error)


def make_private(folder: Path) -> None:
    """Make a folder that only this user can read.

    Raises:
        OSError: it cannot be made, or belongs to another user.
    """
    folder.mkdir(0o700, parents=True, exist_ok=True)
    stat = folder.stat()
    if hasattr(os, "geteuid") and stat.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another user")
    if stat.st_mode & 0o077:
        folder.chmod(0o700)


def _scan(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.iterdir()
    except OSError:
        return


def _read(path: Path) -> mmap.mmap:
    """The bytes of a file in memory of this process: a mapped file that another process shortens ends this one."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "rb", buffering=0) as file:
        size = os.fstat(handle).st_size
        memory = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with memoryview(memory) as view:
            done = 0
            while done < size and (count := file.readinto(view[done:])):
                done += count
        if done < size:
            raise Damaged("it became shorter while it was read")
        _note_use(handle)
    return memory


def _write(path: Path, memory: mmap.mmap) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb", buffering=0) as file, memoryview(memory) as view:
        done = 0
        while done < len(view):
            done += file.write(view[done:]) or 0
        _note_use(handle)


def _note_use(file: Path | int) -> None:
    """Set the time of last use. The kernel's own clock for files is coarser."""
    now = time.time_ns()
    os.utime(file, ns=(now, now))


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
