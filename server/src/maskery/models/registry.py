"""Loads the models of this machine on request, within a memory budget."""

import difflib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from maskery.errors import UserError
from maskery.models.card import Card
from maskery.models.catalog import CATALOG, DEFAULT_MODEL
from maskery.models.compile_cache import CompileCache, compilations
from maskery.models.errors import StoreError
from maskery.models.families import FAMILIES
from maskery.models.runtime import Backend, choose_precision, open_backend
from maskery.models.sam.config import UnsupportedModel
from maskery.models.store import Store
from maskery.segmentation import Model

# Memory of a loaded model, relative to the file of its weights.
_MEMORY_FACTOR = 2.5

# Seconds after which a loaded model is compared with the installed files again.
_CHECK_INTERVAL = 1.0

_log = logging.getLogger(__name__)


def _load_nano(precision: str, cache: Path | None, backend: Backend) -> Model:
    from maskery.models.builtin.nano import load  # noqa: PLC0415 - imports OpenCV

    return load(precision, cache, backend)


def _load_grabcut(_precision: str, _cache: Path | None, _backend: Backend) -> Model:
    from maskery.models.builtin.grabcut import GrabCut  # noqa: PLC0415

    return GrabCut()


# Called with the precision, the folder for compiled networks and the backend.
_BUILT_IN: dict[str, Callable[[str, Path | None, Backend], Model]] = {
    "maskery/nano": _load_nano,
    "maskery/grabcut": _load_grabcut,
}


class ModelNotInstalled(UserError, LookupError):  # noqa: N818 - the name states what was found
    """The model is not installed.

    Attributes:
        known: whether it is in the catalog, so that it can be installed by its name.
    """

    def __init__(self, message: str, known: bool) -> None:
        super().__init__(message)
        self.known = known


@dataclass(frozen=True)
class Listing:
    """An entry of the list of models.

    Attributes:
        name: that clients use.
        created: Unix time of the revision.
        owned_by: the first part of the model's name.
        root: name of the model; differs from `name` for an alias.
    """

    name: str
    created: int
    owned_by: str
    root: str


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A model in memory. `card` is None for a built-in model."""

    model: Model
    card: Card | None = None
    checked: float = 0.0

    @property
    def nbytes(self) -> int:
        return _estimated_memory(self.card) if self.card else 0


class Registry:
    """Loads models by name. Thread-safe.

    While one model is loaded, others can be used. A model that was removed from the store or replaced in it is unloaded
    at the next `get`; calls that use it continue.

    Args:
        aliases: further names of installed models.
        store: of installed models; None: built-in models only.
        max_model_bytes: memory for loaded models, estimated; the least recently used are unloaded to stay below it. A
            model that needs more is loaded alone. None: no limit.
        precision: auto, f32, bf16 or int8, for models that support several.
        hq_token_only: SAM-HQ returns its own token's mask alone.
        cache: of compiled networks; None: networks are compiled each time they are loaded.
        device: that networks run on: auto, cpu, gpu, cuda or onnxruntime, see `open_backend`.

    Raises:
        ModelNotInstalled: an alias refers to a model that is not installed.
    """

    def __init__(
        self,
        aliases: Mapping[str, str] | None = None,
        store: Store | None = None,
        max_model_bytes: int | None = None,
        precision: str = "auto",
        hq_token_only: bool = False,
        cache: CompileCache | None = None,
        device: str = "auto",
    ) -> None:
        self.aliases = dict(aliases or {})
        self._store = store
        self._max_bytes = max_model_bytes
        self._precision = precision
        self._hq_token_only = hq_token_only
        self._cache = cache
        self._device = device
        # In order of use, the least recent first. Of models that are being loaded, the memory that they will need.
        self._loaded: dict[str, _Loaded] = {}
        self._loading: dict[str, int] = {}
        self._lock = threading.Lock()
        self._load_locks: dict[str, threading.Lock] = {}
        self._checker = ThreadPoolExecutor(1, thread_name_prefix="models")
        installed = self.installed()
        for name, target in self.aliases.items():
            if target not in installed:
                raise ModelNotInstalled(f"alias {name!r}: {_not_installed(target, installed)}", False)

    def installed(self) -> list[str]:
        """Names of the built-in and installed models, without the aliases."""
        return sorted({*_BUILT_IN, *(card.name for card in self._cards())})

    def is_built_in(self, name: str) -> bool:
        """Whether the model of this name or alias is built in."""
        return self.aliases.get(name, name) in _BUILT_IN

    def knows(self, name: str) -> bool:
        """Whether a model of this name or alias is loaded. Reads no file."""
        with self._lock:
            return self.aliases.get(name, name) in self._loaded

    def execution(self) -> str:
        """The library, the device and the precision that networks run with, in words.

        Raises:
            DeviceError: the device is not there, or does not support the precision.
        """
        backend = open_backend(self._device)
        precision = choose_precision(self._precision, backend)
        return f"{backend.description}, in {f'int8 and {precision}' if self._precision == 'int8' else precision}"

    def memory(self) -> tuple[int, int]:
        """Number of loaded models, and the estimated memory of installed ones in bytes."""
        with self._lock:
            return len(self._loaded), sum(loaded.nbytes for loaded in self._loaded.values())

    def describe(self, name: str) -> Listing:
        """The listing of a model or alias, without loading the model.

        Raises:
            ModelNotInstalled: the message says what is installed, and how to install a known model.
        """
        target = self.aliases.get(name, name)
        if target in _BUILT_IN:
            return _built_in_listing(name, target)
        card = self._card(target)
        return Listing(name, card.created, card.owner, target)

    def listings(self) -> list[Listing]:
        """All models, then the aliases of models that are still installed."""
        models = {card.name: Listing(card.name, card.created, card.owner, card.name) for card in self._cards()}
        models |= {name: _built_in_listing(name, name) for name in _BUILT_IN}
        aliases = [
            Listing(name, models[target].created, models[target].owned_by, target)
            for name, target in self.aliases.items()
            if target in models
        ]
        return [*(models[name] for name in sorted(models)), *aliases]

    def get(self, name: str) -> Model:
        """The model of this name or alias, loaded if necessary.

        Raises:
            ModelNotInstalled: the message says what is installed, and how to install a known model.
            StoreError: the model is installed but cannot be loaded.
            DeviceError: as of `execution`.
        """
        target = self.aliases.get(name, name)
        card = None if target in _BUILT_IN else self._card(target)
        with self._lock:
            if model := self._in_memory(target, card):
                return model
            load_lock = self._load_locks.setdefault(target, threading.Lock())
        with load_lock:
            with self._lock:
                if model := self._in_memory(target, card):
                    return model
                if card:
                    self._make_room(card)
                self._loading[target] = _estimated_memory(card) if card else 0
            try:
                model = self._load(target, card)
                with self._lock:
                    self._loaded[target] = _Loaded(model, card, time.monotonic())
            finally:
                with self._lock:
                    del self._loading[target]
        return model

    def get_loaded(self, name: str) -> Model | None:
        """The model of this name or alias if it is loaded, else None.

        It never reads a file, so an event loop can call it. A model that was removed or replaced is noticed a second
        later.
        """
        target = self.aliases.get(name, name)
        with self._lock:
            loaded = self._loaded.pop(target, None)
            if loaded is None:
                return None
            now = time.monotonic()
            is_due = loaded.card is not None and now - loaded.checked > _CHECK_INTERVAL
            if is_due:
                self._checker.submit(self._check, target)
                loaded = _Loaded(loaded.model, loaded.card, now)
            self._loaded[target] = loaded
            return loaded.model

    def _check(self, name: str) -> None:
        """Unload a model that was removed or replaced."""
        card = self._store.find(name) if self._store else None
        with self._lock:
            loaded = self._loaded.get(name)
            if loaded and not _same_files(loaded.card, card):
                del self._loaded[name]

    def _cards(self) -> list[Card]:
        return self._store.installed() if self._store else []

    def _card(self, name: str) -> Card:
        card = self._store.find(name) if self._store else None
        if card is None:
            with self._lock:
                self._loaded.pop(name, None)
            raise ModelNotInstalled(_not_installed(name, self.installed()), name in CATALOG)
        return card

    def _in_memory(self, name: str, card: Card | None) -> Model | None:
        """The loaded model if it is of this card, marked as just used."""
        loaded = self._loaded.pop(name, None)
        if loaded is None or not _same_files(loaded.card, card):
            return None
        self._loaded[name] = loaded
        return loaded.model

    def _make_room(self, card: Card) -> None:
        if self._max_bytes is None:
            return
        needed = _estimated_memory(card) + sum(self._loading.values())
        for name, loaded in list(self._loaded.items()):
            if needed + sum(other.nbytes for other in self._loaded.values()) <= self._max_bytes:
                return
            if loaded.nbytes:
                del self._loaded[name]
                _log.info("unloaded %s to make room for %s", name, card.name)
        if needed > self._max_bytes:
            _log.warning("%s needs about %d bytes of memory, more than the limit for models", card.name, needed)

    def _load(self, name: str, card: Card | None) -> Model:
        revision = card.revision if card else str(_built_in_listing(name, name).created)
        cache = self._cache.folder(name, revision) if self._cache else None
        backend = open_backend(self._device)
        if card is None:
            return _BUILT_IN[name](self._precision, cache, backend)
        assert self._store is not None  # noqa: S101 - the card came from it
        _log.info("loading %s", name)
        try:
            load = FAMILIES[card.architecture].load
            return load(name, self._store.get(name), revision, self._precision, self._hq_token_only, cache, backend)
        except (OSError, UnsupportedModel) as error:
            raise StoreError(f"model {name!r} cannot be loaded: {error}") from error


class ModelMetrics(Collector):
    """Prometheus metrics of the models in this process, read when they are scraped."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        loaded, nbytes = self._registry.memory()
        yield GaugeMetricFamily("maskery_models_loaded", "Models in memory.", loaded)
        yield GaugeMetricFamily("maskery_models_bytes", "Estimated memory of installed models that are loaded.", nbytes)
        yield CounterMetricFamily(
            "maskery_compilations", "Networks compiled for a new shape of input in this process.", compilations.total
        )


def _built_in_listing(name: str, target: str) -> Listing:
    entry = CATALOG.get(target)
    return Listing(name, entry.created or 0 if entry else 0, target.partition("/")[0], target)


def _estimated_memory(card: Card) -> int:
    return int(card.nbytes * _MEMORY_FACTOR)


def _same_files(one: Card | None, other: Card | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.revision, one.sha256, one.int8_iou) == (other.revision, other.sha256, other.int8_iou)


def _not_installed(name: str, installed: list[str]) -> str:
    here = f"Installed here: {', '.join(installed)}."
    if name in CATALOG:
        alias = json.dumps({name: DEFAULT_MODEL})
        return (
            f"Model {name!r} is not installed. Install it with `maskery models install {name}`, or use an installed "
            f"model in its place with MASKERY_ALIASES='{alias}'. {here}"
        )
    names = [*installed, *CATALOG]
    # Names are often given without the owner.
    without_owner = {known.rpartition("/")[2]: known for known in names}
    near = difflib.get_close_matches(name, names, n=1) or difflib.get_close_matches(name, without_owner, n=1)
    guess = f" Did you mean {without_owner.get(near[0], near[0])!r}?" if near else ""
    return f"Unknown model {name!r}.{guess} {here}"
