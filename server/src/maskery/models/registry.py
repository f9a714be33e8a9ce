"""The models that this machine can run, loaded when first asked for."""

import difflib
import importlib
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from maskery.errors import UserError
from maskery.models.builtin.grabcut import GrabCut
from maskery.models.builtin.nano import load as load_nano
from maskery.models.catalog import CATALOG, DEFAULT_MODEL
from maskery.models.errors import StoreError
from maskery.models.sam.config import UnsupportedModel
from maskery.models.store import Card, Store
from maskery.segmentation import Model

# Made by precision.
_BUILT_IN: Mapping[str, Callable[[str], Model]] = {"maskery/nano": load_nano, "maskery/grabcut": lambda _: GrabCut()}

# Memory of a loaded model, in bytes of its weights: the weights as they run, and what running needs.
_MEMORY_FACTOR = 2.5

_log = logging.getLogger(__name__)


class ModelNotInstalled(UserError, LookupError):  # noqa: N818 - the name states what was found
    """The model is not on this machine.

    Attributes:
        known: whether the catalogue has it, so that it could be installed.
    """

    def __init__(self, message: str, known: bool) -> None:
        super().__init__(message)
        self.known = known


@dataclass(frozen=True)
class Listing:
    """What clients are told of a model.

    Attributes:
        name: that it is asked for by.
        created: Unix time of its revision.
        owned_by: who made it.
        root: the model that answers; another name if this one is an alias.
    """

    name: str
    created: int
    owned_by: str
    root: str


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A model in memory. `card` is None for a built-in one."""

    model: Model
    card: Card | None = None

    @property
    def nbytes(self) -> int:
        return _needed(self.card) if self.card else 0


class Registry:
    """Models by name. Safe from several threads.

    While one model is loaded, others answer. A model that was removed from the store, or replaced in it, is seen so at
    the next call; what still runs it runs on.

    Args:
        aliases: further names, each answered by an installed model.
        store: of installed models; None: the built-in ones only.
        max_model_bytes: memory for loaded models, estimated; the least recently used are dropped to make room.
            A model that needs more is loaded alone. None: no limit.
        precision: auto, f32, bf16 or int8, for models that can choose.
        hq_token_only: SAM-HQ answers by its own token's mask alone.

    Raises:
        ModelNotInstalled: an alias stands for a model that is not installed.
    """

    def __init__(
        self,
        aliases: Mapping[str, str] | None = None,
        store: Store | None = None,
        max_model_bytes: int | None = None,
        precision: str = "auto",
        hq_token_only: bool = False,
    ) -> None:
        self.aliases = dict(aliases or {})
        self._store = store
        self._max_bytes = max_model_bytes
        self._precision = precision
        self._options = {"precision": precision, "hq_token_only": hq_token_only}
        # Ordered by use, the least recent first. Of models being loaded, the memory they are going to take.
        self._loaded: dict[str, _Loaded] = {}
        self._loading: dict[str, int] = {}
        self._lock = threading.Lock()
        self._load_locks: dict[str, threading.Lock] = {}
        installed = self.installed()
        for name, target in self.aliases.items():
            if target not in installed:
                raise ModelNotInstalled(f"alias {name!r}: {_not_installed(target, installed)}", False)

    def installed(self) -> list[str]:
        """Names of the models that can be run here, without the aliases."""
        return sorted({*_BUILT_IN, *(card.name for card in self._cards())})

    def is_built_in(self, name: str) -> bool:
        """Whether the model of that name or alias came with the package."""
        return self.aliases.get(name, name) in _BUILT_IN

    def knows(self, name: str) -> bool:
        """Whether a model of that name or alias has been loaded; no file is looked at."""
        with self._lock:
            return self.aliases.get(name, name) in self._loaded

    def describe(self, name: str) -> Listing:
        """What clients are told of the model of that name or alias. It is not loaded for this.

        Raises:
            ModelNotInstalled: with what is installed, and how to install what is not.
        """
        target = self.aliases.get(name, name)
        if target in _BUILT_IN:
            model = self.get(target)
            return Listing(name, model.created, model.owned_by, target)
        card = self._card(target)
        return Listing(name, card.created, card.owner, target)

    def listings(self) -> list[Listing]:
        """What can be asked for: the models, then the aliases whose model is still there."""
        cards = {card.name: Listing(card.name, card.created, card.owner, card.name) for card in self._cards()}
        models = {**cards, **{name: self.describe(name) for name in _BUILT_IN}}
        aliases = [
            Listing(name, models[target].created, models[target].owned_by, target)
            for name, target in self.aliases.items()
            if target in models
        ]
        return [*(models[name] for name in sorted(models)), *aliases]

    def get(self, name: str) -> Model:
        """The model of that name or alias.

        Raises:
            ModelNotInstalled: with what is installed, and how to install what is not.
            StoreError: it is installed and cannot be loaded.
        """
        target = self.aliases.get(name, name)
        card = None if target in _BUILT_IN else self._card(target)
        with self._lock:
            if model := self._in_memory(target, card):
                return model
            load_lock = self._load_locks.setdefault(target, threading.Lock())
        with load_lock:
            if card is None:
                return self._built_in(target)
            with self._lock:
                if model := self._in_memory(target, card):
                    return model
                self._make_room(card)
                self._loading[target] = _needed(card)
            try:
                model = self._load(card)
                with self._lock:
                    self._loaded[target] = _Loaded(model, card)
            finally:
                with self._lock:
                    del self._loading[target]
        return model

    def get_loaded(self, name: str) -> Model | None:
        """As `get`, but None where the model would have to be loaded first: a small file is read, no more."""
        target = self.aliases.get(name, name)
        card = None if target in _BUILT_IN else self._card(target)
        with self._lock:
            return self._in_memory(target, card)

    def _built_in(self, name: str) -> Model:
        """Made here unless another thread has made it just now."""
        with self._lock:
            if model := self._in_memory(name, None):
                return model
        model = _BUILT_IN[name](self._precision)
        with self._lock:
            self._loaded[name] = _Loaded(model)
        return model

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
        """The loaded model if it is still what is installed; used just now. No card: a built-in one."""
        loaded = self._loaded.pop(name, None)
        if loaded is None or not _same(loaded.card, card):
            return None
        self._loaded[name] = loaded
        return loaded.model

    def _make_room(self, card: Card) -> None:
        if self._max_bytes is None:
            return
        needed = _needed(card) + sum(self._loading.values())
        for name, loaded in list(self._loaded.items()):
            if needed + sum(other.nbytes for other in self._loaded.values()) <= self._max_bytes:
                return
            if loaded.nbytes:
                del self._loaded[name]
                _log.info("unloaded %s to make room for %s", name, card.name)
        if needed > self._max_bytes:
            _log.warning("%s needs about %d bytes of memory, more than models are allowed", card.name, needed)

    def _load(self, card: Card) -> Model:
        assert self._store is not None  # noqa: S101 - the card came from it
        _log.info("loading %s", card.name)
        load = importlib.import_module("maskery.models.sam.model").load
        try:
            model: Model = load(card.name, self._store.get(card.name), card.revision, **self._options)
        except (OSError, UnsupportedModel) as error:
            raise StoreError(f"model {card.name!r} cannot be loaded: {error}") from error
        return model


def _needed(card: Card) -> int:
    return int(card.nbytes * _MEMORY_FACTOR)


def _same(one: Card | None, other: Card | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.revision, one.sha256, one.int8_iou) == (other.revision, other.sha256, other.int8_iou)


def _not_installed(name: str, installed: list[str]) -> str:
    here = f"Installed here: {', '.join(installed)}."
    if name in CATALOG:
        alias = json.dumps({name: DEFAULT_MODEL})
        return (
            f"Model {name!r} is not installed. Install it with `maskery models install {name}`, or have an installed "
            f"model answer for it with MASKERY_ALIASES='{alias}'. {here}"
        )
    names = [*installed, *CATALOG]
    # The owner is easily left out.
    without_owner = {known.rpartition("/")[2]: known for known in names}
    near = difflib.get_close_matches(name, names, n=1) or difflib.get_close_matches(name, without_owner, n=1)
    guess = f" Did you mean {without_owner.get(near[0], near[0])!r}?" if near else ""
    return f"There is no model {name!r}.{guess} {here}"
