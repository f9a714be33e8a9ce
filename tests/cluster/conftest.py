"""One cluster of three replicas for all tests: it takes a quarter of a minute to start."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from outside import RedisServer

from tests.cluster.running import Cluster

# `make test-cluster` has an environment with Ray.
collect_ignore_glob = [] if find_spec("ray") else ["test_*.py"]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Cluster]:
    # The paths of Ray's sockets must be short.
    ray_folder = Path(tempfile.mkdtemp(prefix="ray-"))
    cluster = Cluster(tmp_path_factory.mktemp("home"), ray_folder, redis_server.url, replicas=3)
    try:
        yield cluster
    finally:
        cluster.close()
        # Ray ends its processes with the one that has started it; these are what is left of this cluster, if any.
        left = subprocess.run(["pgrep", "-f", str(ray_folder)], capture_output=True, text=True).stdout.split()
        for process in left:
            subprocess.run(["kill", "-9", process])
        shutil.rmtree(ray_folder, ignore_errors=True)
        assert not left, f"processes of Ray were left: {left}"
