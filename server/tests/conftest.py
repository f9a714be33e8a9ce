"""What the tests of the server share: a home folder of their own, and the real application on a real port."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from samples import MODEL, b64, png, squares

from maskery.accounts import AccountStore
from maskery.api import create_app
from maskery.serving.server import configure
from maskery.settings import Settings


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the home folder of who runs it."""
    home = tmp_path / "home"
    monkeypatch.setenv("MASKERY_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def image() -> bytes:
    return png(squares())


@pytest.fixture
def body(image: bytes) -> dict[str, Any]:
    """A request that is right: tests change one thing of it."""
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


@pytest.fixture
def make_client(make_key: Callable[..., str]) -> Iterator[Callable[..., httpx.Client]]:
    """A client, with a key of account `team`, of a server in this process; settings as keyword arguments."""
    stops: list[Callable[[], None]] = []

    def make(**settings: Any) -> httpx.Client:
        # Loading ahead would go through whatever a test has put in the models' place.
        loaded = Settings.load(**{"port": 0, "preload": (), **settings})
        key = make_key("team", database=loaded.database)
        config = configure(create_app(loaded), loaded)
        config.port = 0
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}, timeout=60
        )

        def stop() -> None:
            client.close()
            server.should_exit = True
            thread.join()

        stops.append(stop)
        return client

    yield make
    for stop in stops:
        stop()


@pytest.fixture
def client(make_client: Callable[..., httpx.Client]) -> httpx.Client:
    return make_client()
