"""Installs models into a folder of this machine.

A model's folder contains config.json, model.safetensors, preprocessor_config.json or processor_config.json, card.json
and, once quantized, its int8 form. It is assembled under `.staging` and renamed when it is complete, so that models
appear as a whole.
"""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from maskery.models import hub
from maskery.models.card import Card
from maskery.models.catalog import CATALOG
from maskery.models.errors import DownloadError, StoreError
from maskery.models.files import (
    CONFIG,
    INDEX,
    WEIGHTS,
    check_preprocessing,
    needed_files,
    read_config,
    resolve_folder,
    verify,
    weight_parts,
)
from maskery.models.sam.config import UnsupportedModel
from maskery.models.sam.weights import Weights, check, digest, merge

#: Called with a description of the step, the number of bytes done, and the total (None: unknown).
Progress = Callable[[str, int, int | None], None]

_STAGING = ".staging"
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9_]|[.-](?![.-]))*(?<![.-])"
_NAME = re.compile(rf"{_PART}(?:/{_PART})?")

# Kept free on the disk, for the card and other programs.
_SPARE_BYTES = 32 * 2**20


class Store:
    """Models in a folder. Safe to use from several threads and processes.

    Args:
        folder: created with the first model.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def installed(self) -> list[Card]:
        """The cards of all models, by name."""
        try:
            folders = [path for path in self.folder.iterdir() if not path.name.startswith(".")]
        except OSError:
            return []
        cards = [card for path in folders if (card := Card.read(path)) and self._path(card.name) == path]
        return sorted(cards, key=lambda card: card.name)

    def find(self, name: str) -> Card | None:
        """The card of a model, None if it is not installed."""
        if not _NAME.fullmatch(name):
            return None
        card = Card.read(self._path(name))
        # A case-insensitive file system finds the folder of a name that differs in case.
        return card if card and card.name == name else None

    def card(self, name: str) -> Card:
        """The card of a model.

        Raises:
            StoreError: it is not installed.
        """
        card = self.find(name)
        if card is None:
            here = ", ".join(card.name for card in self.installed()) or "none"
            raise StoreError(f"model {name!r} is not installed; installed in {self.folder}: {here}")
        return card

    def get(self, name: str) -> Path:
        """The folder of a model.

        Raises:
            StoreError: it is not installed.
        """
        return self._path(self.card(name).name)

    def install_from_hub(self, name: str, revision: str | None = None, progress: Progress | None = None) -> Card:
        """Download a model, resuming an earlier download. A revision that is already installed is kept.

        With `HF_HUB_OFFLINE`, the model is taken from the cache of huggingface_hub.

        Args:
            name: of the repository, `owner/name`.
            revision: commit, branch or tag; None: the main branch.
            progress: reports each step.

        Raises:
            StoreError: the model cannot be downloaded, is not supported, or cannot be written. Nothing is installed.
        """
        _check_name(name)
        try:
            found = hub.look_up(name, revision)
        except hub.OfflineError:
            card = self.find(name)
            if card and revision in (None, card.revision):
                return card
            snapshot = hub.cached_snapshot(name, revision)
            if snapshot is None:
                raise
            return self._copy(name, snapshot, snapshot.name, progress)
        if not re.fullmatch("[0-9a-f]{7,64}", found.revision):
            raise StoreError(f"{found.url} does not say at which commit it is")
        with self._installing(name, found.revision) as staging:
            card = self.find(name)
            if card and card.revision == found.revision:
                return card
            wanted = [found.files[file] for file in needed_files(found.files, f"{name} on the hub")]
            self._check_space(sum(file.size or 0 for file in wanted) - _size_of(staging), name)
            for file in wanted:
                self._fetch(found, file, staging, progress)
                if file.name == CONFIG:
                    read_config(staging)
            parts = weight_parts(staging / INDEX) if not (staging / WEIGHTS).exists() else []
            missing = [part for part in parts if part not in found.files]
            if missing:
                raise UnsupportedModel(f"{name} on the hub has no {missing[0]}, which its {INDEX} names")
            # The parts are merged, so there is room for them twice.
            self._check_space(2 * sum(found.files[part].size or 0 for part in parts) - _size_of(staging), name)
            for part in parts:
                self._fetch(found, found.files[part], staging, progress)
            sha256 = self._merge(staging, parts, staging, progress) if parts else found.files[WEIGHTS].sha256
            for part in parts:
                (staging / part).unlink()
            (staging / INDEX).unlink(missing_ok=True)
            licence = found.licence or _catalogued_licence(name)
            return self._put(name, staging, sha256, found.revision, found.url, licence, found.created)

    def install_from_folder(self, name: str, source: Path, progress: Progress | None = None) -> Card:
        """Copy a model from a folder, replacing a model of the same name.

        Args:
            name: of the model, with or without an owner.
            source: as transformers saves it, or a repository in the cache of huggingface_hub.
            progress: reports each step.

        Raises:
            StoreError: the model is not supported, or cannot be written. Nothing is installed.
        """
        _check_name(name)
        if not source.is_dir():
            raise StoreError(f"{source} is not a folder")
        return self._copy(name, source, None, progress)

    def record_int8(self, quantized: Card, iou: float) -> None:
        """Store the agreement of a model's int8 form with f32.

        Args:
            quantized: card of the files that were quantized.
            iou: mean IoU of its masks.

        Raises:
            StoreError: the model was removed or replaced meanwhile, or the card cannot be written.
        """
        name = quantized.name
        with self._locked(name):
            card = self.card(name)
            if (card.revision, card.sha256) != (quantized.revision, quantized.sha256):
                raise StoreError(f"model {name!r} was replaced while it was quantized: quantize it again")
            replace(card, int8_iou=iou).write(self.get(name))

    def remove(self, name: str) -> None:
        """Delete a model.

        Raises:
            StoreError: it is not installed, or cannot be deleted.
        """
        self.card(name)
        with self._locked(name):
            self._discard(self.get(name))
            shutil.rmtree(self._staging(name), ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self.folder / name.replace("/", "--")

    def _staging(self, name: str) -> Path:
        return self.folder / _STAGING / self._path(name).name

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        try:
            (self.folder / _STAGING).mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self._staging(name)}.lock"):
                yield
        except OSError as error:
            raise StoreError(self._explain(error, name)) from None

    @contextmanager
    def _installing(self, name: str, key: str) -> Iterator[Path]:
        """A folder to assemble a model in. Files of an earlier attempt with the same key are still there.

        After an interruption or a failed download they are kept, after any other failure they are removed.
        """
        with self._locked(name):
            staging = self._staging(name) / key
            for other in self._staging(name).glob("*"):
                if other != staging:
                    shutil.rmtree(other, ignore_errors=True)
            staging.mkdir(parents=True, exist_ok=True)
            try:
                yield staging
            except DownloadError:
                raise
            except UnsupportedModel as error:
                shutil.rmtree(self._staging(name), ignore_errors=True)
                raise StoreError(f"{name} cannot be installed: {error}") from None
            except Exception:
                shutil.rmtree(self._staging(name), ignore_errors=True)
                raise
            shutil.rmtree(self._staging(name), ignore_errors=True)

    def _copy(self, name: str, source: Path, revision: str | None, progress: Progress | None) -> Card:
        with self._installing(name, secrets.token_hex(8)) as staging:
            source = resolve_folder(source)
            files = needed_files({path.name for path in source.iterdir() if path.is_file()}, str(source))
            config = read_config(source)
            check_preprocessing(source, config)
            parts = weight_parts(source / INDEX) if INDEX in files else [WEIGHTS]
            small = [file for file in files if file not in (WEIGHTS, INDEX)]
            for part in parts:
                if not (source / part).is_file():
                    raise UnsupportedModel(f"{source} has no {part}, which its {INDEX} names")
            if parts == [WEIGHTS]:
                # Before two gigabytes are copied.
                check(Weights.open(source / WEIGHTS), config)
            self._check_space(sum((source / file).stat().st_size for file in (*small, *parts)), name)
            digests = {file: _copy_file(source / file, staging / file, progress) for file in small}
            if parts == [WEIGHTS]:
                digests[WEIGHTS] = _copy_file(source / WEIGHTS, staging / WEIGHTS, progress)
            else:
                digests[WEIGHTS] = self._merge(source, parts, staging, progress)
            made = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()[:40]
            licence = _catalogued_licence(name) if revision else None
            return self._put(name, staging, digests[WEIGHTS], revision or made, str(source.resolve()), licence, None)

    def _fetch(self, found: hub.Repository, file: hub.RemoteFile, staging: Path, progress: Progress | None) -> None:
        """Download a file and compare it with its digest."""
        target = staging / file.name
        hub.fetch(found, file, target, _labelled(progress, f"download {file.name}"))
        if file.sha256 and digest(target, _counted(progress, f"check {file.name}", target)) != file.sha256:
            raise StoreError(f"{file.name} of {found.name} was damaged in transit: run the command again")

    def _merge(self, source: Path, parts: list[str], staging: Path, progress: Progress | None) -> str:
        """Merge sharded weights into one file; its SHA-256."""
        total = sum((source / part).stat().st_size for part in parts)
        count = _labelled(progress, f"merge {len(parts)} files")
        target = staging / WEIGHTS
        merge([source / part for part in parts], target, (lambda done: count(done, total)) if count else None)
        return digest(target, _counted(progress, f"check {WEIGHTS}", target))

    def _put(
        self,
        name: str,
        staging: Path,
        sha256: str | None,
        revision: str,
        source: str,
        licence: str | None,
        created: int | None,
    ) -> Card:
        """Verify a complete folder, write its card and move it into place."""
        config = verify(staging)
        weights, now = staging / WEIGHTS, int(time.time())
        card = Card(
            name,
            config.architecture,
            revision,
            source,
            licence,
            sha256 or digest(weights),
            weights.stat().st_size,
            now if created is None else created,
            now,
        )
        card.write(staging)
        target = self._path(name)
        if target.exists():
            self._discard(target)
        staging.rename(target)
        return card

    def _discard(self, folder: Path) -> None:
        """Move a folder out of sight, then delete it."""
        doomed = self.folder / _STAGING / f"{folder.name}.{secrets.token_hex(4)}.old"
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def _check_space(self, needed: int, name: str) -> None:
        free = shutil.disk_usage(self.folder).free
        if needed + _SPARE_BYTES > free:
            room = f"the disk of {self.folder} has {readable(free)} left"
            raise StoreError(f"{name} needs {readable(needed + _SPARE_BYTES)} and {room}")

    def _explain(self, error: OSError, name: str) -> str:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"the disk of {self.folder} is full, so {name} is not installed"
        return f"{error.filename or self.folder} cannot be used: {error.strerror or error}"


def readable(size: int) -> str:
    """A number of bytes as text, such as ``2.56 GB``."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _catalogued_licence(name: str) -> str | None:
    entry = CATALOG.get(name)
    return entry.licence if entry else None


def _check_name(name: str) -> None:
    if len(name) > 160 or not _NAME.fullmatch(name):
        raise StoreError(
            f"{name!r} is not a model's name: use owner/name, letters and digits with single '.', '-' and '_' between"
        )
    if name in CATALOG and CATALOG[name].built_in:
        raise StoreError(f"{name} is built in and needs no installation")


def _copy_file(source: Path, target: Path, progress: Progress | None) -> str:
    """Copy a file; its SHA-256."""
    state, count = hashlib.sha256(), _counted(progress, f"copy {source.name}", source)
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(2**20):
            state.update(chunk)
            writer.write(chunk)
            count(writer.tell())
        writer.flush()
        os.fsync(writer.fileno())
    return state.hexdigest()


def _size_of(folder: Path) -> int:
    with suppress(OSError):
        return sum(path.stat().st_size for path in folder.iterdir())
    return 0


def _labelled(progress: Progress | None, step: str) -> hub.Counter | None:
    return (lambda done, total: progress(step, done, total)) if progress else None


def _counted(progress: Progress | None, step: str, file: Path) -> Callable[[int], None]:
    total = file.stat().st_size
    return (lambda done: progress(step, done, total)) if progress else (lambda done: None)
