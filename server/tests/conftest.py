"""Fixtures of the server's tests: a home folder per test, and the real application on a real port."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from samples import MODEL, b64, png, squares

from maskery.accounts import AccountStore
from maskery.api.app import create_app
from maskery.serving.server import configure, listen, listen_bridge
from maskery.settings import Settings


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's own home folder."""
    home = tmp_path / "home"
    monkeypatch.setenv("MASKERY_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def image() -> bytes:
    return png(squares())


@pytest.fixture
def body(image: bytes) -> dict[str, Any]:
    """A valid request; tests change one field of it."""
    return {"model": MODEL, "image_prompt": b64(image), "segment_prompt": [[[20, 20]]]}


@pytest.fixture
def store(own_home: Path) -> Iterator[AccountStore]:
    """Accounts and keys of the servers of this test."""
    store = AccountStore.open(own_home / "maskery.db")
    yield store
    store.close()


@pytest.fixture
def make_key(own_home: Path) -> Callable[..., str]:
    """A key of an account, as text, for servers of this test; further arguments as of `KeyRepository.create`."""

    def make(account: str = "team", database: str | Path = own_home / "maskery.db", **more: Any) -> str:
        store = AccountStore.open(database)
        _, text = store.keys.create(account, **more)
        store.close()
        return text

    return make


@contextmanager
def serve(home: Path, **settings: Any) -> Iterator[httpx.Client]:
    """A client, with a key of account `team`, of a server in this process."""
    # Preloading would run the models that a test has replaced.
    loaded = Settings.load(**{"home": home, "port": 0, "preload": (), **settings})
    store = AccountStore.open(loaded.database)
    _, key = store.keys.create("team")
    store.close()
    # Whatever a test calls its host, the server listens on loopback, or on every address.
    listener = listen(loaded if loaded.host == "::" else loaded.model_copy(update={"host": "127.0.0.1"}))
    port = listener.getsockname()[1]
    bridge = listen_bridge(loaded)
    server = uvicorn.Server(configure(create_app(loaded), loaded))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener, bridge] if bridge else [listener]})
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.005)
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}, timeout=60
        ) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session", name="serve")
def serve_fixture() -> Callable[..., AbstractContextManager[httpx.Client]]:
    """`serve`, for fixtures of other modules."""
    return serve


@pytest.fixture
def make_client(own_home: Path) -> Iterator[Callable[..., httpx.Client]]:
    """Starts a server in the test's home folder; settings as keyword arguments."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(serve(own_home, **settings))


@pytest.fixture
def client(make_client: Callable[..., httpx.Client]) -> httpx.Client:
    """A client of a server of this test alone."""
    return make_client()


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of the module's shared server."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def shared_client(shared_home: Path) -> Iterator[httpx.Client]:
    """A client of a server that the module's tests share, for tests that do not depend on each other's effects."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MASKERY_HOME", str(shared_home))
        with serve(shared_home) as client:
            yield client
