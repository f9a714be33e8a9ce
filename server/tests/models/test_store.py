"""Models are installed from a hub or a folder, completely or not at all. The hub is a small server in this process."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from sam_folders import config, random_tensors, write_model, write_safetensors

from maskery.models import DownloadError, Store, StoreError
from maskery.models.sam.weights import Weights

NAME = "acme/sam-fine"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

# Bytes that have arrived before the connection breaks.
STEP = 2**20


@dataclass
class Hub:
    """A hub with one repository, which fails as its attributes say.

    Attributes:
        folder: the repository's files.
        status: of every answer; 200 for what is right.
        cut: bytes of a file after which the connection breaks, once.
        stall: whether it hangs there instead.
        after_cut: the status of all answers after that.
        requests: path and headers of each, in order.
    """

    folder: Path
    commit: str = COMMIT
    status: int = 200
    cut: int | None = None
    stall: bool = False
    after_cut: int = 200
    error_code: str = ""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    def describe(self) -> dict[str, Any]:
        siblings = []
        for path in sorted(self.folder.iterdir()):
            entry: dict[str, Any] = {"rfilename": path.name, "size": path.stat().st_size, "blobId": "1"}
            if path.name == "model.safetensors":
                sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
                entry["lfs"] = {"sha256": sha256, "size": entry["size"], "pointerSize": 1}
            siblings.append(entry)
        return {
            "id": NAME,
            "modelId": NAME,
            "sha": self.commit,
            "lastModified": "2025-01-02T03:04:05.000Z",
            "cardData": {"license": "mit"},
            "siblings": siblings,
            "tags": [],
        }

    def ranges(self, file: str = "model.safetensors") -> list[str | None]:
        """The ranges that were requested of a file."""
        return [headers.get("range") for path, headers in self.requests if path.endswith(file)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        hub, path = self.hub, urlsplit(self.path).path
        hub.requests.append((path, {name.lower(): value for name, value in self.headers.items()}))
        if hub.status != 200:
            self.answer(hub.status, b"{}")
        elif path in (f"/api/models/{NAME}", f"/api/models/{NAME}/revision/{hub.commit}"):
            self.answer(200, json.dumps(hub.describe()).encode())
        elif path.startswith(f"/{NAME}/resolve/{hub.commit}/") and (hub.folder / path.split("/")[-1]).is_file():
            self.send((hub.folder / path.split("/")[-1]).read_bytes())
        else:
            hub.error_code = "RevisionNotFound" if "/revision/" in path else "RepoNotFound"
            self.answer(404, b"{}")

    def send(self, data: bytes) -> None:
        hub, start = self.hub, int(self.headers.get("range", "bytes=0-")[6:].split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if hub.cut is None or len(data) < hub.cut:
            self.wfile.write(data[start:])
            return
        self.wfile.write(data[start : hub.cut])
        while hub.stall:
            time.sleep(0.02)
        hub.cut, hub.status, self.close_connection = None, hub.after_cut, True

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if self.hub.error_code:
            self.send_header("X-Error-Code", self.hub.error_code)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub(write_model(tmp_path / "hub"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", "hf_team")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield hub
    hub.stall = False
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def store(own_home: Path) -> Store:
    return Store(own_home / "models")


def files(store: Store) -> set[str]:
    """Everything below the store's folder but its locks."""
    found = {str(path.relative_to(store.folder)) for path in store.folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.endswith(".lock")}


def refusal(action: Callable[[], Any]) -> str:
    """The message of the error, which is one sentence."""
    with pytest.raises(StoreError) as caught:
        action()
    said = str(caught.value)
    assert "\n" not in said
    assert 20 < len(said) < 400
    return said


def enlarge(hub: Hub) -> bytes:
    """Weights that take three steps to download."""
    write_model(hub.folder, extra={"more": np.random.default_rng(1).integers(0, 255, 2 * STEP + 999, np.uint8)})
    return (hub.folder / "model.safetensors").read_bytes()


def test_a_model_is_installed_from_the_hub(hub: Hub, store: Store) -> None:
    steps: list[tuple[str, int, int | None]] = []
    (hub.folder / "pytorch_model.bin").write_bytes(b"a pickle")
    card = store.install_from_hub(NAME, progress=lambda *step: steps.append(step))
    weights = (hub.folder / "model.safetensors").read_bytes()
    assert (card.name, card.architecture, card.revision, card.licence) == (NAME, "sam_hq", COMMIT, "mit")
    assert (card.source, card.owner, card.created) == (f"{hub.url}/{NAME}", "acme", 1735787045)
    assert (card.sha256, card.nbytes) == (hashlib.sha256(weights).hexdigest(), len(weights))
    assert abs(card.installed - time.time()) < 60
    folder = store.get(NAME)
    assert {path.name for path in folder.iterdir()} == {
        "card.json",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    }
    assert (folder / "model.safetensors").read_bytes() == weights
    assert ("download model.safetensors", len(weights), len(weights)) in steps
    assert store.installed() == [card] == [store.card(NAME)]
    assert all(headers["authorization"] == "Bearer hf_team" for _, headers in hub.requests)
    before = len(hub.requests)
    assert store.install_from_hub(NAME, COMMIT) == card
    assert len(hub.requests) == before + 1


def test_another_revision_replaces_the_first(hub: Hub, store: Store) -> None:
    first = store.install_from_hub(NAME)
    (store.get(NAME) / "graphs").mkdir()
    hub.commit = COMMIT[::-1]
    write_model(hub.folder, seed=1)
    second = store.install_from_hub(NAME)
    assert first.sha256 != second.sha256
    assert store.installed() == [second]
    assert not (store.get(NAME) / "graphs").exists()
    assert "has no revision v9" in refusal(lambda: store.install_from_hub(NAME, "v9"))
    assert store.installed() == [second]


def test_an_interrupted_download_is_resumed(hub: Hub, store: Store) -> None:
    weights = enlarge(hub)
    hub.cut, hub.after_cut = STEP, 503
    assert "answers 503" in refusal(lambda: store.install_from_hub(NAME))
    assert store.installed() == []
    hub.status = 200
    hub.requests.clear()
    store.install_from_hub(NAME)
    assert hub.ranges() == [f"bytes={STEP}-"]
    assert hub.ranges("config.json") == []
    assert (store.get(NAME) / "model.safetensors").read_bytes() == weights


def test_a_download_of_another_revision_is_not_resumed(hub: Hub, store: Store) -> None:
    enlarge(hub)
    hub.cut, hub.after_cut = STEP, 503
    refusal(lambda: store.install_from_hub(NAME))
    hub.status, hub.commit = 200, COMMIT[::-1]
    hub.requests.clear()
    store.install_from_hub(NAME)
    assert hub.ranges() == [None]
    assert {name.split("/")[0] for name in files(store)} == {"acme--sam-fine"}


def test_a_damaged_download_is_refused(hub: Hub, store: Store) -> None:
    weights = enlarge(hub)
    hub.cut, hub.after_cut = STEP, 503
    refusal(lambda: store.install_from_hub(NAME))
    [part] = store.folder.rglob("*.part")
    part.write_bytes(bytes(STEP))
    hub.status = 200
    assert "was damaged in transit" in refusal(lambda: store.install_from_hub(NAME))
    assert files(store) == set()
    store.install_from_hub(NAME)
    assert (store.get(NAME) / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "set HF_TOKEN"),
        (403, "accept its terms"),
        (404, "has no model"),
        (500, "answers 500"),
        (429, "answers 429"),
    ],
)
def test_a_hub_that_refuses_is_explained(hub: Hub, store: Store, status: int, says: str) -> None:
    hub.status = status
    assert says in refusal(lambda: store.install_from_hub(NAME))
    assert files(store) == set()


def test_a_hub_that_does_not_answer_is_explained(hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "has no model acme/other" in refusal(lambda: store.install_from_hub("acme/other"))
    assert "is not a repository's name" in refusal(lambda: store.install_from_hub("a/" + "b" * 120))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match=r"no answer from http://127\.0\.0\.1:9"):
        store.install_from_hub(NAME)


def test_a_server_that_is_not_a_hub_is_explained(hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in (b"<html>", b"[]", b"{}", b'{"id": "a", "sha": "../..", "siblings": []}'):
        monkeypatch.setattr(Handler, "answer", _always(answer))
        assert hub.url in refusal(lambda: store.install_from_hub(NAME))


def _always(body: bytes) -> Callable[[Handler, int, bytes], None]:
    answer = Handler.answer
    return lambda handler, status, _body: answer(handler, status, body)


def test_offline_no_request_is_made_and_an_installed_model_is_kept(
    hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = store.install_from_hub(NAME)
    hub.requests.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert store.install_from_hub(NAME) == card
    assert "HF_HUB_OFFLINE is set" in refusal(lambda: store.install_from_hub(NAME, "v2"))
    store.remove(NAME)
    assert "--from DIR" in refusal(lambda: store.install_from_hub(NAME))
    assert hub.requests == []


def test_a_connection_that_breaks_is_resumed(hub: Hub, store: Store) -> None:
    weights = enlarge(hub)
    hub.cut = STEP
    store.install_from_hub(NAME)
    assert hub.ranges() == [None, f"bytes={STEP}-"]
    assert (store.get(NAME) / "model.safetensors").read_bytes() == weights


def test_offline_a_model_is_installed_from_the_cache_of_huggingface_hub(
    hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    cache = hub.folder.parent / "hf" / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    snapshot = cached(hub.folder, cache)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert huggingface_hub.try_to_load_from_cache(NAME, "config.json", cache_dir=cache) == str(snapshot / "config.json")
    card = store.install_from_hub(NAME)
    assert (card.revision, card.source) == (COMMIT, str(snapshot))
    assert store.install_from_hub(NAME) == card
    assert hub.requests == []


def cached(model: Path, cache: Path) -> Path:
    """A model in a cache as huggingface_hub lays it out; its snapshot."""
    repository = cache / f"models--{NAME.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    for folder in (snapshot, repository / "blobs", repository / "refs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for number, path in enumerate(model.iterdir()):
        shutil.copy(path, repository / "blobs" / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    return snapshot


def test_a_folder_of_the_cache_of_huggingface_hub_is_installed(tmp_path: Path, store: Store) -> None:
    snapshot = cached(write_model(tmp_path / "mine"), tmp_path / "cache")
    repository = snapshot.parent.parent
    card = store.install_from_folder("mine", repository)
    assert (card.source, card.nbytes) == (str(snapshot), (snapshot / "model.safetensors").stat().st_size)
    assert not (store.get("mine") / "model.safetensors").is_symlink()
    (repository / "refs" / "main").unlink()
    assert store.install_from_folder("mine", repository).revision == card.revision
    shutil.rmtree(snapshot)
    assert "has no snapshot" in refusal(lambda: store.install_from_folder("mine", repository))


def shard(folder: Path) -> dict[str, np.ndarray]:
    """Split the weights of a model into two files, as transformers saves large ones; its tensors."""
    tensors = random_tensors(folder)
    names = list(tensors)
    index = {}
    for number, some in enumerate((names[::2], names[1::2]), 1):
        file = f"model-{number:05}-of-00002.safetensors"
        write_safetensors(folder / file, {name: tensors[name] for name in some})
        index |= dict.fromkeys(some, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    (folder / "model.safetensors").unlink()
    return tensors


def assert_merged(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    assert {path.name for path in folder.glob("model*")} == {"model.safetensors"}
    weights = Weights.open(folder / "model.safetensors")
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(weights.array(name), tensor)


def test_sharded_weights_are_merged(tmp_path: Path, hub: Hub, store: Store) -> None:
    source = write_model(tmp_path / "mine")
    tensors = shard(source)
    card = store.install_from_folder("mine", source)
    assert_merged(store.get("mine"), tensors)
    assert card.sha256 == hashlib.sha256((store.get("mine") / "model.safetensors").read_bytes()).hexdigest()
    tensors = shard(hub.folder)
    store.install_from_hub(NAME)
    assert_merged(store.get(NAME), tensors)


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ("{", "does not say in which files"),
        ('{"weight_map": {}}', "does not say in which files"),
        ('{"weight_map": {"a": "../model.safetensors"}}', "has '../model.safetensors' as a file"),
        ('{"weight_map": {"a": "model-00003-of-00003.safetensors"}}', "has no model-00003-of-00003.safetensors"),
        (json.dumps({"weight_map": dict.fromkeys("ab", "model-00001-of-00002.safetensors")}), "lacks"),
    ],
)
def test_sharded_weights_that_are_incomplete_are_refused(
    tmp_path: Path, hub: Hub, store: Store, index: str, says: str
) -> None:
    for folder in (write_model(tmp_path / "mine"), hub.folder):
        shard(folder)
        (folder / "model.safetensors.index.json").write_text(index)
    assert says in refusal(lambda: store.install_from_folder("mine", tmp_path / "mine"))
    assert says in refusal(lambda: store.install_from_hub(NAME))
    assert files(store) == set()


def test_a_tensor_in_two_parts_is_refused(tmp_path: Path, store: Store) -> None:
    source = write_model(tmp_path / "mine")
    shard(source)
    shutil.copy(source / "model-00001-of-00002.safetensors", source / "model-00002-of-00002.safetensors")
    assert "is in another part, too" in refusal(lambda: store.install_from_folder("mine", source))


def test_huggingface_hub_has_the_interface_that_is_used() -> None:
    """A release that moves one of these names fails here, by the name, and not in the middle of a download."""
    import huggingface_hub
    import huggingface_hub.utils

    for name in ("HfApi", "get_session", "hf_hub_url", "try_to_load_from_cache"):
        assert callable(getattr(huggingface_hub, name)), name
    for name in ("build_hf_headers", "hf_raise_for_status"):
        assert callable(getattr(huggingface_hub.utils, name)), name
    for name in ("HTTPError", "HfHubHTTPError", "OfflineModeIsEnabled", "HFValidationError", "RevisionNotFoundError"):
        assert issubclass(getattr(huggingface_hub.errors, name), Exception), name
    assert issubclass(huggingface_hub.errors.HfHubHTTPError, huggingface_hub.errors.HTTPError)


def test_an_unsupported_repository_is_not_downloaded(hub: Hub, store: Store) -> None:
    (hub.folder / "config.json").write_text(json.dumps({**config(), "model_type": "llama"}))
    assert "model type 'llama'" in refusal(lambda: store.install_from_hub(NAME))
    assert hub.ranges() == []
    (hub.folder / "model.safetensors").rename(hub.folder / "pytorch_model.bin")
    assert "pickle" in refusal(lambda: store.install_from_hub(NAME))
    assert files(store) == set()


def test_a_folder_is_copied_under_any_name(tmp_path: Path, store: Store) -> None:
    source = write_model(tmp_path / "mine", "sam")
    (source / "training_args.bin").write_bytes(b"a pickle")
    seen: list[tuple[str, int, int | None]] = []
    card = store.install_from_folder("mine", source, lambda *step: seen.append(step))
    other = store.install_from_folder("syscv-community/sam-hq-vit-base", source)
    assert [card.name for card in store.installed()] == ["mine", "syscv-community/sam-hq-vit-base"]
    assert (card.architecture, card.source, card.licence) == ("sam", str(source), None)
    assert card.revision == other.revision
    assert not (store.get("mine") / "training_args.bin").exists()
    assert seen[-1] == ("copy model.safetensors", card.nbytes, card.nbytes)
    shutil.rmtree(source)
    assert store.get("mine").is_dir()


def test_the_revision_of_a_folder_is_a_digest_of_its_files(tmp_path: Path, store: Store) -> None:
    source = write_model(tmp_path / "mine")
    first = store.install_from_folder("mine", source)
    assert store.install_from_folder("mine", source).revision == first.revision
    (source / "preprocessor_config.json").rename(source / "processor_config.json")
    second = store.install_from_folder("mine", source)
    assert second.revision != first.revision
    assert second.sha256 == first.sha256
    assert (store.get("mine") / "processor_config.json").is_file()
    assert not (store.get("mine") / "preprocessor_config.json").exists()


def test_an_invalid_folder_does_not_replace_a_model(tmp_path: Path, store: Store) -> None:
    source = write_model(tmp_path / "mine")
    card = store.install_from_folder("mine", source)
    with (source / "model.safetensors").open("r+b") as file:
        file.truncate(100_000)
    refusal(lambda: store.install_from_folder("mine", source))
    assert store.installed() == [card]
    assert "is not a folder" in refusal(lambda: store.install_from_folder("mine", source / "none"))


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/../b",
        "/etc",
        "a/b/c",
        "a/",
        "a//b",
        "a\\b",
        "a b",
        "-a",
        "a.",
        ".a",
        "a\n",
        "a--b",
        "a/..",
        "é",
    ],
)
def test_an_invalid_name_is_refused(tmp_path: Path, store: Store, name: str) -> None:
    source = write_model(tmp_path / "mine")
    assert "is not a model's name" in refusal(lambda: store.install_from_folder(name, source))
    assert store.find(name) is None
    with pytest.raises(StoreError):
        store.get(name)
    with pytest.raises(StoreError):
        store.remove(name)
    assert not store.folder.exists()


def test_a_built_in_name_is_refused(tmp_path: Path, store: Store) -> None:
    assert "built in" in refusal(lambda: store.install_from_folder("maskery/grabcut", write_model(tmp_path / "mine")))


def test_a_full_disk_is_explained(tmp_path: Path, hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_model(tmp_path / "mine")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 1_000_000))  # type: ignore[attr-defined]
        assert "has 1.0 MB left" in refusal(lambda: store.install_from_folder("mine", source))
        assert "has 1.0 MB left" in refusal(lambda: store.install_from_hub(NAME))
    assert hub.ranges("config.json") == []

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        assert "is full" in refusal(lambda: store.install_from_folder("mine", source))
        assert "is full" in refusal(lambda: store.install_from_hub(NAME))
    assert files(store) == set()


def test_a_file_in_place_of_the_store_is_explained(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    store = Store(tmp_path / "models")
    assert store.installed() == []
    assert "cannot be used" in refusal(lambda: store.install_from_folder("mine", write_model(tmp_path / "mine")))


def test_removing_a_model_removes_all_its_files(tmp_path: Path, store: Store) -> None:
    store.install_from_folder("mine", write_model(tmp_path / "mine"))
    (store.get("mine") / "graphs").mkdir()
    store.remove("mine")
    assert files(store) == set()
    assert [path.name for path in store.folder.iterdir()] == [".staging"]
    assert "not installed" in refusal(lambda: store.remove("mine"))
    assert "installed in" in refusal(lambda: store.get("mine"))


def test_a_quantized_model_is_recorded_unless_it_was_replaced_meanwhile(tmp_path: Path, store: Store) -> None:
    quantized = store.install_from_folder("mine", write_model(tmp_path / "mine"))
    replaced = store.install_from_folder("mine", write_model(tmp_path / "other", seed=1))
    assert "replaced while it was quantized" in refusal(lambda: store.record_int8(quantized, 0.98))
    assert store.card("mine") == replaced
    store.remove("mine")
    assert "not installed" in refusal(lambda: store.record_int8(replaced, 0.98))


def test_a_broken_card_hides_its_model(tmp_path: Path, store: Store) -> None:
    card = store.install_from_folder("mine", write_model(tmp_path / "mine"))
    store.record_int8(card, 0.98)
    assert store.card("mine").int8_iou == 0.98
    file = store.get("mine") / "card.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "of": "a later version"}))
    assert store.card("mine").int8_iou == 0.98
    for text in ("", "[]", "{}", json.dumps({**json.loads(file.read_text()), "name": "../other"})):
        file.write_text(text)
        assert store.installed() == []
        assert store.find("mine") is None


def test_concurrent_installations_of_one_name_leave_a_complete_model(tmp_path: Path, hub: Hub, store: Store) -> None:
    folders = [write_model(tmp_path / str(seed), seed=seed) for seed in range(3)]

    def install(index: int) -> None:
        if index < 3:
            store.install_from_folder(NAME, folders[index])
        else:
            Store(store.folder).install_from_hub(NAME)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(install, range(6)))
    [card] = store.installed()
    weights = (store.get(NAME) / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == card.sha256
    assert {name.split("/")[0] for name in files(store)} == {"acme--sam-fine"}


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "maskery", "models", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


def run(*arguments: object) -> tuple[int, str, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, out, err


def test_the_command_line_resumes_a_download_after_it_was_killed(hub: Hub, store: Store) -> None:
    weights = enlarge(hub)
    hub.cut, hub.stall = STEP, True
    process = start("install", NAME)
    while not any(path.stat().st_size >= STEP for path in store.folder.rglob("*.part")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert store.installed() == []
    hub.stall, hub.cut = False, None
    hub.requests.clear()
    code, out, err = run("install", NAME)
    assert code == 0, err
    assert "acme/sam-fine installed: revision 0123456789ab, 2.3 MB." in out
    assert "download model.safetensors" in err
    assert "100%" in err or "2.3/2.3 MB" in err
    assert hub.ranges() == [f"bytes={STEP}-"]
    assert not [path for path, _ in hub.requests if "api" in path and "models" not in path]
    assert (store.get(NAME) / "model.safetensors").read_bytes() == weights


def test_the_command_line_installs_shows_lists_and_removes(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_model(tmp_path / "mine")
    name = "syscv-community/sam-hq-vit-base"
    code, out, err = run("install", name, "--from", source)
    assert code == 0, err
    assert name in out
    _, listed, _ = run("list")
    assert [line.split()[:2] for line in listed.splitlines()[1:4]] == [
        ["maskery/nano", "built"],
        ["maskery/grabcut", "built"],
        [name, "installed"],
    ]
    _, shown, _ = run("show", name)
    assert store.card(name).sha256 in shown
    assert str(source) in shown
    code, _, err = run("remove", name)
    assert code == 0, err
    assert store.installed() == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for arguments, says in [
        (("install", name), "HF_HUB_OFFLINE is set"),
        (("show", "syscv-comunity/sam-hq-vit-base"), "Did you mean 'syscv-community/sam-hq-vit-base'?"),
    ]:
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert says in err
        assert err.startswith("maskery: ")
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"size": 1024},
        {"rescale_factor": "no"},
        {"image_mean": [1]},
        {"image_std": [0, 0, 0]},
        {"size": {"longest_edge": "x"}},
        {"do_pad": False},
    ],
)
def test_unsupported_preprocessing_is_refused_at_installation(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = write_model(tmp_path / "model")
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(StoreError, match=r"preprocessor|scaled"):
        Store(tmp_path / "models").install_from_folder("a/b", folder)
    assert Store(tmp_path / "models").installed() == []
