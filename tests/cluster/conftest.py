"""One cluster of three replicas for all tests: it takes a quarter of a minute to start."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from outside import RedisServer

from tests.cluster.running import Cluster, processes

# `make test-cluster` has an environment with Ray.
collect_ignore_glob = [] if find_spec("ray") else ["test_*.py"]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Cluster]:
    ray_folder = _make_short_folder()
    cluster = Cluster(tmp_path_factory.mktemp("home"), ray_folder, redis_server.url, replicas=3)
    try:
        yield cluster
    finally:
        cluster.close()
        assert not remove_ray(ray_folder), "processes of Ray were left"


@pytest.fixture
def short_folder() -> Path:
    return _make_short_folder()


def _make_short_folder() -> Path:
    """The paths of Ray's sockets must be short."""
    return Path(tempfile.mkdtemp(prefix="ray-"))


def remove_ray(folder: Path) -> list[int]:
    """Remove Ray's folder, and end its processes that are left; their ids."""
    left = [process for process, file in processes("cmdline") if str(folder) in file]
    for process in left:
        os.kill(process, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
    return left
