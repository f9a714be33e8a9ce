"""The models that were installed on this machine: a folder for each, and a card that says what it is.

A folder holds the files of the hub's format (config.json, model.safetensors, preprocessor_config.json or
processor_config.json), card.json, and what is made from them (graphs/). It is put together under `.staging` and
renamed when it is whole, so that what is seen here is whole.
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
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from maskery.models import hub
from maskery.models.catalog import CATALOG
from maskery.models.errors import DownloadError, StoreError
from maskery.models.families import CONFIG, WEIGHTS, ModelFiles, read_config
from maskery.models.sam.config import UnsupportedModel
from maskery.models.sam.weights import digest

CARD = "card.json"

# Either says how images are prepared: the first as the hub's repositories hold it, the second as transformers 5 does.
PREPROCESSING = ("preprocessor_config.json", "processor_config.json")

#: Called with what is being done to which file, bytes done, and bytes there are (None: not known).
Progress = Callable[[str, int, int | None], None]

_STAGING = ".staging"
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9_]|[.-](?![.-]))*(?<![.-])"
_NAME = re.compile(rf"{_PART}(?:/{_PART})?")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")

# What graphs and cards take beside the weights, roughly; a disk is not filled to its last byte.
_SPARE_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Card:
    """What is known of an installed model. Times are Unix seconds.

    Attributes:
        name: as clients write it.
        architecture: the `model_type` of its config.json.
        revision: of what decides over its answers: the commit it was downloaded at, or a digest of its files.
        source: where it came from, an address or a folder.
        licence: of the weights, if known.
        sha256: of the weights' file.
        nbytes: of the weights' file.
        created: when the revision was made.
        installed: when it was put here.
        int8_iou: mean IoU of its int8 form with f32, where that form was made.
    """

    name: str
    architecture: str
    revision: str
    source: str
    licence: str | None
    sha256: str
    nbytes: int
    created: int
    installed: int
    int8_iou: float | None = None

    @property
    def owner(self) -> str:
        return self.name.partition("/")[0]


class Store:
    """Models in a folder. Safe from several threads and processes.

    Args:
        folder: it is made when something is installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def installed(self) -> list[Card]:
        """Cards of all models, by name."""
        try:
            folders = [path for path in self.folder.iterdir() if not path.name.startswith(".")]
        except OSError:
            return []
        cards = [card for path in folders if (card := _read_card(path)) and self._path(card.name) == path]
        return sorted(cards, key=lambda card: card.name)

    def find(self, name: str) -> Card | None:
        """The card of a model, None if it is not installed."""
        if not _NAME.fullmatch(name):
            return None
        card = _read_card(self._path(name))
        # A file system that does not tell A from a finds another's.
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
        """Download a model, or what an earlier try left to be downloaded. One that is here already stays.

        Args:
            name: of its repository, `owner/name`.
            revision: commit, branch or tag; None: the main branch.
            progress: told of every step.

        Raises:
            StoreError: it cannot be had, cannot be run, or finds no place. Nothing is installed then.
        """
        _check_name(name)
        try:
            found = hub.look_up(name, revision)
        except hub.OfflineError:
            card = self.find(name)
            if card and revision in (None, card.revision):
                return card
            raise
        if not re.fullmatch("[0-9a-f]{7,64}", found.revision):
            raise StoreError(f"{found.address} does not say at which commit it is")
        with self._installing(name, found.revision) as staging:
            card = self.find(name)
            if card and card.revision == found.revision:
                return card
            wanted = _choose(found)
            self._check_space(sum(file.size or 0 for file in wanted) - _size_of(staging), name)
            for file in wanted:
                hub.fetch(found, file, staging / file.name, _named(progress, file.name))
                if file.name == CONFIG:
                    read_config(staging)
            sha256 = digest(staging / WEIGHTS, _counted(progress, f"check {WEIGHTS}", staging / WEIGHTS))
            promised = found.files[WEIGHTS].sha256
            if promised and promised != sha256:
                raise StoreError(f"{WEIGHTS} of {name} did not arrive as the hub has it: run the command again")
            catalogued = CATALOG.get(name)
            licence = found.licence or (catalogued.licence if catalogued else None)
            return self._put(name, staging, sha256, found.revision, found.address, licence, found.created)

    def install_from_folder(self, name: str, source: Path, progress: Progress | None = None) -> Card:
        """Copy a model from a folder. It takes the place of one that had its name.

        Args:
            name: under which it is to be asked for, with or without an owner.
            progress: told of every step.

        Raises:
            StoreError: it is no model that can be run, or finds no place. Nothing is installed then.
        """
        _check_name(name)
        if not source.is_dir():
            raise StoreError(f"{source} is not a folder")
        with self._installing(name, secrets.token_hex(8)) as staging:
            _verify(source)
            files = [source / file for file in (CONFIG, *PREPROCESSING, WEIGHTS) if (source / file).is_file()]
            self._check_space(sum(file.stat().st_size for file in files), name)
            digests = {file.name: _copy(file, staging / file.name, progress) for file in files}
            revision = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()[:40]
            return self._put(name, staging, digests[WEIGHTS], revision, str(source.resolve()), None, None)

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
            _write_card(self.get(name), replace(card, int8_iou=iou))

    def remove(self, name: str) -> None:
        """Delete a model with all that was made from it.

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
        """A folder to put a model together in; what was left there under the same key still is.

        After an interruption it stays, after any other failure it goes.
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

    def _put(
        self,
        name: str,
        staging: Path,
        sha256: str,
        revision: str,
        source: str,
        licence: str | None,
        created: int | None,
    ) -> Card:
        """Give a whole folder its card and its place."""
        files = _verify(staging)
        now = int(time.time())
        nbytes = files.weights.path.stat().st_size
        card = Card(
            name,
            files.config.architecture,
            revision,
            source,
            licence,
            sha256,
            nbytes,
            now if created is None else created,
            now,
        )
        _write_card(staging, card)
        place = self._path(name)
        if place.exists():
            self._discard(place)
        staging.rename(place)
        return card

    def _discard(self, place: Path) -> None:
        """Out of sight at once, then deleted."""
        doomed = self.folder / _STAGING / f"{place.name}.{secrets.token_hex(4)}.old"
        place.rename(doomed)
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
    """Bytes for a person."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _check_name(name: str) -> None:
    if len(name) > 160 or not _NAME.fullmatch(name):
        raise StoreError(
            f"{name!r} is not a model's name: owner/name, of letters and digits with single '.', '-' and '_' between"
        )
    if name in CATALOG and CATALOG[name].built_in:
        raise StoreError(f"{name} is built in and needs no installing")


def _choose(repository: hub.Repository) -> list[hub.RemoteFile]:
    """What is downloaded, the smallest first."""
    _check_files(set(repository.files), f"{repository.name} on the hub")
    return [repository.files[name] for name in (CONFIG, *PREPROCESSING, WEIGHTS) if name in repository.files]


def _verify(folder: Path) -> ModelFiles:
    """Check everything that can be checked without running the network."""
    _check_files({path.name for path in folder.iterdir() if path.is_file()}, str(folder))
    for name in PREPROCESSING:
        if (folder / name).is_file() and not isinstance(_read_json(folder / name), dict):
            raise UnsupportedModel(f"{name} is not a JSON object")
    return ModelFiles.open(folder)


def _check_files(names: set[str], where: str) -> None:
    if CONFIG not in names:
        raise UnsupportedModel(f"{where} has no {CONFIG}")
    if WEIGHTS not in names:
        if f"{WEIGHTS}.index.json" in names:
            raise UnsupportedModel(f"{where} has its weights in several files; one {WEIGHTS} can be read")
        pickles = sorted(name for name in names if name.endswith(_PICKLES))
        if pickles:
            raise UnsupportedModel(
                f"{where} has its weights as {pickles[0]}, a pickle, which can run any program when opened: "
                f"save them as {WEIGHTS}"
            )
        raise UnsupportedModel(f"{where} has no {WEIGHTS}")
    if not names & set(PREPROCESSING):
        raise UnsupportedModel(f"{where} has no {PREPROCESSING[0]}, which says how images are prepared")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None


def _read_card(folder: Path) -> Card | None:
    try:
        document = json.loads((folder / CARD).read_bytes())
        return Card(**{field.name: document[field.name] for field in fields(Card) if field.name in document})
    except (OSError, ValueError, TypeError):
        return None


def _write_card(folder: Path, card: Card) -> None:
    draft = folder / f"{CARD}.part"
    with draft.open("w") as file:
        file.write(json.dumps(asdict(card), indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / CARD)


def _copy(source: Path, target: Path, progress: Progress | None) -> str:
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


def _named(progress: Progress | None, name: str) -> hub.Counter | None:
    if progress is None:
        return None
    return lambda done, total: progress(f"download {name}", done, total)


def _counted(progress: Progress | None, what: str, file: Path) -> Callable[[int], None]:
    total = file.stat().st_size
    return (lambda done: progress(what, done, total)) if progress else (lambda done: None)
