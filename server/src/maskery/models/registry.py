"""The models that this machine can run, loaded when first asked for."""

import difflib
import json
import threading
from collections.abc import Callable, Mapping

from maskery.models.builtin.grabcut import GrabCut
from maskery.models.catalog import CATALOG
from maskery.segmentation import Model

_BUILT_IN: Mapping[str, Callable[[], Model]] = {"maskery/grabcut": GrabCut}


class ModelNotInstalled(LookupError):  # noqa: N818 - the name states what was found
    """The model is not on this machine.

    Attributes:
        known: whether the catalogue has it, so that it could be installed.
    """

    def __init__(self, message: str, known: bool) -> None:
        super().__init__(message)
        self.known = known


class Registry:
    """Models by name. Safe from several threads.

    Args:
        aliases: further names, each answered by an installed model.

    Raises:
        ModelNotInstalled: an alias stands for a model that is not installed.
    """

    def __init__(self, aliases: Mapping[str, str] | None = None) -> None:
        self.aliases = dict(aliases or {})
        self._loaded: dict[str, Model] = {}
        self._lock = threading.Lock()
        for name, target in self.aliases.items():
            if target not in self.installed():
                raise ModelNotInstalled(f"alias {name!r}: {_not_installed(target, self.installed())}", False)

    def installed(self) -> list[str]:
        """Names of the models that can be run here, without the aliases."""
        return sorted(_BUILT_IN)

    def get(self, name: str) -> Model:
        """The model of that name or alias.

        Raises:
            ModelNotInstalled: with what is installed, and how to install what is not.
        """
        target = self.aliases.get(name, name)
        make = _BUILT_IN.get(target)
        if make is None:
            raise ModelNotInstalled(_not_installed(target, self.installed()), target in CATALOG)
        with self._lock:
            if target not in self._loaded:
                self._loaded[target] = make()
            return self._loaded[target]


def _not_installed(name: str, installed: list[str]) -> str:
    here = f"Installed here: {', '.join(installed)}."
    if name in CATALOG:
        alias = json.dumps({name: installed[0]})
        return (
            f"Model {name!r} is not installed. Install it with `maskery models install {name}`, or have an installed "
            f"model answer for it with MASKERY_ALIASES='{alias}'. {here}"
        )
    near = difflib.get_close_matches(name, [*installed, *CATALOG], n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return f"There is no model {name!r}.{guess} {here}"
