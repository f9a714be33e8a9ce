"""Models are loaded on request, once, in parallel, and within a memory budget."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from sam_folders import write_model
from waiting import until

from maskery.models import Listing, ModelMetrics, ModelNotInstalled, Registry, Store, StoreError, load
from maskery.models.runtime import Backend
from maskery.models.sam.config import UnsupportedModel

BUILT_IN = ["maskery/grabcut", "maskery/nano"]


class Loader:
    """Replaces `maskery.models.sam.model`: records what is loaded, and can be made to wait."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.precisions: set[str] = set()
        self.gates: dict[str, threading.Event] = {}
        self.error: Exception | None = None

    def load(
        self,
        name: str,
        folder: Path,
        revision: str,
        precision: str,
        hq_token_only: bool,
        cache: Path | None,
        backend: Backend,
    ) -> Any:
        assert (folder / "model.safetensors").is_file()
        self.loaded.append(name)
        self.precisions.add(precision)
        if name in self.gates:
            assert self.gates[name].wait(10)
        if self.error:
            raise self.error
        return SimpleNamespace(name=name, revision=revision)


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> Loader:
    loader = Loader()
    monkeypatch.setitem(sys.modules, "maskery.models.sam.model", loader)
    return loader


@pytest.fixture
def store(tmp_path: Path, own_home: Path) -> Store:
    store = Store(own_home / "models")
    for seed, name in enumerate(("a", "b", "team/c")):
        store.install_from_folder(name, write_model(tmp_path / str(seed), seed=seed))
    return store


def test_installed_models_are_known_and_loaded_once(store: Store, loader: Loader) -> None:
    registry = Registry(store=store, precision="f32")
    assert registry.installed() == ["a", "b", *BUILT_IN, "team/c"]
    assert loader.loaded == []
    assert registry.get("a") is registry.get("a")
    assert registry.get("a").revision == store.card("a").revision
    assert loader.loaded == ["a"]
    assert loader.precisions == {"f32"}
    with pytest.raises(
        ModelNotInstalled, match="Installed here: a, b, maskery/grabcut, maskery/nano, team/c"
    ) as caught:
        registry.get("facebook/sam-vit-base")
    assert caught.value.known
    with pytest.raises(ModelNotInstalled, match="Unknown model"):
        registry.get("../a")


def test_without_a_store_there_are_the_built_in_models(loader: Loader) -> None:
    assert Registry().installed() == BUILT_IN
    assert load("maskery/grabcut").name == "maskery/grabcut"
    with pytest.raises(ModelNotInstalled):
        load("a")


def test_a_model_can_be_loaded_on_its_own(store: Store, loader: Loader) -> None:
    assert load("team/c", store.folder, "bf16").name == "team/c"
    assert loader.precisions == {"bf16"}


def test_models_are_described_without_being_loaded(store: Store, loader: Loader) -> None:
    registry = Registry({"nice": "team/c"}, store)
    card = store.card("team/c")
    assert registry.describe("nice") == Listing("nice", card.created, "team", "team/c")
    assert [listing.name for listing in registry.listings()] == ["a", "b", *BUILT_IN, "team/c", "nice"]
    assert registry.listings()[-1] == registry.describe("nice")
    assert registry.describe("maskery/grabcut").owned_by == "maskery"
    store.remove("team/c")
    assert [listing.name for listing in registry.listings()] == ["a", "b", *BUILT_IN]
    with pytest.raises(ModelNotInstalled):
        registry.describe("nice")
    with pytest.raises(ModelNotInstalled, match="alias 'nice'"):
        Registry({"nice": "team/c"}, store)
    assert loader.loaded == []


def test_the_api_lists_installed_models(store: Store, loader: Loader, make_client: Callable[..., httpx.Client]) -> None:
    client = make_client(aliases="nice=team/c")
    models = client.get("/v1/models").json()["data"]
    assert [(model["id"], model["root"]) for model in models][-2:] == [("team/c", "team/c"), ("nice", "team/c")]
    assert models[-1]["owned_by"] == "team"
    assert loader.loaded == []
    store.remove("a")
    assert "a" not in [model["id"] for model in client.get("/v1/models").json()["data"]]


def in_thread(registry: Registry, name: str, answers: list[Any]) -> threading.Thread:
    thread = threading.Thread(target=lambda: answers.append(registry.get(name)))
    thread.start()
    return thread


def test_other_models_can_be_used_while_one_is_loaded(store: Store, loader: Loader) -> None:
    registry, answers = Registry(store=store), []
    loader.gates["a"] = threading.Event()
    threads = [in_thread(registry, "a", answers) for _ in range(4)]
    assert registry.get("b").name == "b"
    assert registry.get("maskery/grabcut")
    assert registry.listings()[0].name == "a"
    assert answers == []
    loader.gates["a"].set()
    for thread in threads:
        thread.join()
    assert sorted(loader.loaded) == ["a", "b"]
    assert len({id(answer) for answer in answers}) == 1


def test_the_least_recently_used_model_is_unloaded(store: Store, loader: Loader) -> None:
    needed = int(store.card("a").nbytes * 2.5)
    registry = Registry(store=store, max_model_bytes=2 * needed + 10)
    grabcut = registry.get("maskery/grabcut")
    for name in ("a", "b", "a", "team/c", "a"):
        registry.get(name)
    assert loader.loaded == ["a", "b", "team/c"]
    registry.get("b")
    assert loader.loaded == ["a", "b", "team/c", "b"]
    registry.get("a")
    assert loader.loaded == ["a", "b", "team/c", "b"]
    assert registry.get("maskery/grabcut") is grabcut


def test_models_that_are_being_loaded_count_towards_the_budget(store: Store, loader: Loader) -> None:
    needed = int(store.card("a").nbytes * 2.5)
    registry, answers = Registry(store=store, max_model_bytes=2 * needed + 10), []
    registry.get("b")
    loader.gates["a"] = threading.Event()
    thread = in_thread(registry, "a", answers)
    while "a" not in loader.loaded:
        time.sleep(0.001)
    registry.get("team/c")
    loader.gates["a"].set()
    thread.join()
    registry.get("a")
    registry.get("team/c")
    assert loader.loaded == ["b", "a", "team/c"]


def test_a_model_larger_than_the_budget_is_loaded_alone(store: Store, loader: Loader) -> None:
    registry = Registry(store=store, max_model_bytes=1)
    assert registry.get("a") is registry.get("a")
    assert registry.get("b").name == "b"
    registry.get("a")
    assert loader.loaded == ["a", "b", "a"]


def test_changes_in_the_store_are_noticed(tmp_path: Path, store: Store, loader: Loader) -> None:
    registry = Registry(store=store)
    before = registry.get("a")
    store.install_from_folder("a", write_model(tmp_path / "new", seed=9))
    assert registry.get("a").revision != before.revision
    store.remove("a")
    with pytest.raises(ModelNotInstalled):
        registry.get("a")
    store.install_from_folder("new", write_model(tmp_path / "new"))
    assert registry.get("new").name == "new"


def test_loading_is_tried_again_after_a_failure(store: Store, loader: Loader) -> None:
    registry = Registry(store=store, max_model_bytes=10**9)
    for error in (OSError("gone"), UnsupportedModel("cut off")):
        loader.error = error
        with pytest.raises(StoreError, match=r"'a' cannot be loaded: (gone|cut off)"):
            registry.get("a")
    loader.error = None
    assert registry.get("a").name == "a"


def test_a_loaded_model_is_found_without_reading_a_file(
    store: Store, loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry({"nice": "a"}, store)
    assert registry.get_loaded("a") is None
    assert registry.get_loaded("there-is-none") is None
    model = registry.get("a")

    def read(*_: object) -> None:
        assert threading.current_thread() is not threading.main_thread()

    monkeypatch.setattr(Store, "find", read)
    assert registry.get_loaded("a") is registry.get_loaded("nice") is model


@pytest.mark.parametrize("change", ["remove", "replace"])
def test_a_loaded_model_that_is_removed_or_replaced_is_noticed(
    tmp_path: Path, store: Store, loader: Loader, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    registry = Registry(store=store)
    registry.get("a")
    monkeypatch.setattr("maskery.models.registry._CHECK_INTERVAL", 0)
    assert registry.get_loaded("a")
    store.remove("a")
    if change == "replace":
        store.install_from_folder("a", write_model(tmp_path / "new", seed=9))
    until(lambda: registry.get_loaded("a") is None)


def test_loaded_models_are_in_the_metrics(store: Store, loader: Loader) -> None:
    registry = Registry(store=store)
    registry.get("a")
    registry.get("maskery/grabcut")
    shown = {family.name: family.samples[0].value for family in ModelMetrics(registry).collect()}
    assert shown["maskery_models_loaded"] == 2
    assert shown["maskery_models_bytes"] == int(store.card("a").nbytes * 2.5)
    assert "maskery_compilations" in shown
