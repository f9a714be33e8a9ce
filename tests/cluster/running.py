"""A cluster on this machine, its log, and clients that check every answer."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from air import AIRefinery
from maskery.accounts import AccountStore
from tests.faults.running import eventually, expected_eighths, image_file

_HERE = Path(__file__).parent

#: A path for Python on which the processes of a cluster find the models of these tests.
MODELS = os.pathsep.join([str(_HERE / "model"), str(_HERE.parents[1])])

_LINE = re.compile(r"\(ServeReplica:\S+ pid=(\d+)\)\S* (\{.*\})")


@dataclass(frozen=True)
class Logged:
    """A request in the log of a replica.

    Attributes:
        image: its number.
        embedding: known, new or shared.
    """

    replica: str
    image: int
    embedding: str


class Cluster:
    """A `maskery cluster` with a Redis.

    Attributes:
        key: of an account without limits.
    """

    def __init__(self, home: Path, ray_folder: Path, redis_url: str, replicas: int) -> None:
        self.home = home
        self._log_file = home / "cluster.log"
        self._environment = {
            **os.environ,
            "PYTHONPATH": MODELS,
            "RAY_TMPDIR": str(ray_folder),
            "MASKERY_HOME": str(home),
            "MASKERY_REDIS_URL": redis_url,
            "MASKERY_PRELOAD": "test/quick,test/sleeping,test/long",
            "MASKERY_LOG_FORMAT": "json",
            # Replicas are compared by their number, and not by the processors of the machine.
            "MASKERY_WORKERS": "1",
            "MASKERY_MAX_UPLOAD_BYTES": str(100 * 2**20),
            "PYTHONUNBUFFERED": "1",
        }
        self.store = AccountStore.open(home / "maskery.db")
        self.key = self.store.keys.create("team", scopes=["segment"])[1]
        with self._log_file.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "maskery", "cluster", "--replicas", str(replicas), "--port", "0"],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        found = re.search(r"http://\S+:\d+", self.process.stdout.readline())
        assert found, self._log_file.read_text()
        self.url = found[0]

    def redeploy(self, replicas: int, processors: float = 1) -> None:
        """Change the number of the replicas, or what each reserves, for which they are replaced."""
        command = [sys.executable, str(_HERE / "redeploy.py"), str(replicas), str(processors)]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr

    def lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Lines of the replicas' logs, each with the id of its process."""
        for process, line in _LINE.findall(self._log_file.read_text()):
            yield int(process), json.loads(line)

    def processes(self) -> dict[str, int]:
        """Ids of the processes of the replicas that run, by name."""
        pids = {line["replica"]: process for process, line in self.lines()}
        return {name: process for name, process in pids.items() if Path(f"/proc/{process}").exists()}

    def logged(self, phase: str, expected: int) -> list[Logged]:
        """The successful segmentations of a phase, once that many have been logged."""

        def found() -> list[Logged]:
            lines = [line for _, line in self.lines() if str(line.get("request_id", "")).startswith(f"{phase}.")]
            return [
                Logged(line["replica"], int(line["request_id"].split(".")[1]), line["embedding"])
                for line in lines
                if line.get("status") == 200
            ]

        eventually(lambda: len(found()) >= expected, f"{expected} lines of {phase}")
        return found()

    def client(self, **options: Any) -> AIRefinery:
        return AIRefinery(self.key, self.url, timeout=60, **options)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.stdout is not None
        with self.process.stdout:
            self.process.wait(60)
        self.store.close()


def processes(file: str) -> Iterator[tuple[int, str]]:
    """The ids of all processes, and what a file of each in /proc contains."""
    for path in Path("/proc").glob(f"[0-9]*/{file}"):
        with suppress(OSError):
            yield int(path.parent.name), path.read_text(errors="replace")


def click(client: AIRefinery, image: int, model: str, phase: str, headers: Mapping[str, str] | None = None) -> None:
    """A click at a random place, whose mask must be that of the image."""
    column, row = np.random.default_rng().integers(1, 63, 2)
    request_id = f"{phase}.{image}.{uuid.uuid4().hex[:12]}"
    named = {"x-request-id": request_id, **(headers or {})}
    response = client.images.segment(image_file(image), [[[int(column), int(row)]]], model, extra_headers=named)
    mask = response.data[0].to_numpy()
    assert round(8 * np.count_nonzero(mask) / mask.size) == expected_eighths(image)
    assert response.request_id == request_id


def click_all(
    cluster: Cluster, images: Sequence[int], phase: str, model: str = "test/quick", clients: int = 16, **headers: str
) -> None:
    """Click on the images in this order, by several clients at the same time."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with cluster.client() as client, ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda image: click(client, image, model, phase, named), images))


class Clients(Protocol):
    """Makes clients of a cluster."""

    def client(self, **options: Any) -> AIRefinery: ...


@contextmanager
def load(
    cluster: Clients, phase: str, images: int, model: str = "test/quick", clients: int = 8, retries: int = 2
) -> Iterator[list[float]]:
    """Clients that click on random images until the end of the block. Every request must succeed.

    Yields the times of the answers.
    """
    end, answers = threading.Event(), []

    def work(client: AIRefinery, seed: int) -> None:
        random = np.random.default_rng(seed)
        while not end.is_set():
            click(client, int(random.integers(images)), model, phase)
            answers.append(time.monotonic())

    with cluster.client(max_retries=retries) as client, ThreadPoolExecutor(clients) as pool:
        working = [pool.submit(work, client, seed) for seed in range(clients)]
        try:
            yield answers
        finally:
            end.set()
        for each in working:
            each.result()
