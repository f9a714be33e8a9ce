"""`serve run` with the configuration for several machines, changed to what one machine has."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from air import AIRefinery, APIConnectionError, ServiceUnavailableError
from maskery.accounts import AccountStore
from tests.cluster.conftest import remove_ray
from tests.cluster.running import MODELS, load
from tests.cluster.test_parts import CONFIGURATION
from tests.faults.running import eventually

pytestmark = pytest.mark.services


@dataclass(frozen=True)
class Deployed:
    """A running `serve run`."""

    url: str
    key: str
    log: Path

    def client(self, **options: Any) -> AIRefinery:
        return AIRefinery(self.key, self.url, timeout=60, **options)

    @property
    def replicas(self) -> int:
        return len(set(re.findall(r"replica (\S+) has been started", self.log.read_text())))


@pytest.fixture
def deployed(tmp_path: Path, short_folder: Path) -> Iterator[Deployed]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    configuration = yaml.safe_load(CONFIGURATION.read_text())
    configuration["http_options"] |= {"host": "127.0.0.1", "port": port}
    (application,) = configuration["applications"]
    settings = application["runtime_env"]["env_vars"]
    del settings["MASKERY_DATABASE_URL"], settings["MASKERY_REDIS_URL"]
    settings |= {"MASKERY_HOME": str(tmp_path), "MASKERY_WORKERS": "1", "MASKERY_PRELOAD": "test/sleeping"}
    (replicas,) = application["deployments"]
    del replicas["max_replicas_per_node"]
    replicas["ray_actor_options"]["num_cpus"] = 0.1
    replicas["autoscaling_config"] |= {"min_replicas": 1, "max_replicas": 2, "upscale_delay_s": 1}
    file = tmp_path / "ray-serve.yaml"
    file.write_text(yaml.safe_dump(configuration))
    store = AccountStore.open(tmp_path / "maskery.db")
    key = store.keys.create("team", scopes=["segment"])[1]
    store.close()
    environment = {
        **os.environ,
        "PYTHONPATH": MODELS,
        "RAY_TMPDIR": str(short_folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "maskery.cluster.proxy:middlewares",
        "RAY_DEDUP_LOGS": "0",
    }
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [Path(sys.executable).parent / "serve", "run", file],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A program that was started in the background ignores the signal that ends this one.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
    try:
        yield Deployed(f"http://127.0.0.1:{port}", key, log)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        remove_ray(short_folder)


def test_replicas_are_added_while_many_requests_are_in_flight(deployed: Deployed) -> None:
    with deployed.client(max_retries=0) as client:

        def is_ready() -> bool:
            try:
                return bool(client.models.list().data)
            except (APIConnectionError, ServiceUnavailableError):
                return False

        eventually(is_ready, "the application to be ready", seconds=150)
    assert deployed.replicas == 1
    with load(deployed, "more", images=40, model="test/sleeping", clients=12):
        eventually(lambda: deployed.replicas == 2, "a second replica")
