"""Containers without a daemon: buildah, with a base image that is made here of Debian's packages."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: The image that the Dockerfile builds from, as far as the Dockerfile uses it: Debian's Python at its usual path.
BASE = "docker.io/library/python:3.11-slim"
PATH = "/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Run = Callable[..., str]


@pytest.fixture(scope="session")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs buildah commands in a storage of the tests' own, and returns their output."""
    for tool in ("buildah", "mmdebstrap"):
        if not shutil.which(tool):
            pytest.fail(f"The tests of the image need {tool}: apt-get install buildah mmdebstrap.")
    folder = tmp_path_factory.mktemp("containers")
    # Without overlay file systems and namespaces, which a container that runs tests does not have.
    options = ("--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", "vfs")
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}

    def run(*arguments: str | Path, cwd: Path = ROOT) -> str:
        command = ["buildah", *options, *map(str, arguments)]
        result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        return result.stdout.strip()

    yield run
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def base_image(buildah: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    archive = tmp_path_factory.mktemp("base") / "base.tar"
    packages = "--include=python3,python3-venv,ca-certificates"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", packages, "bookworm", archive]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    container = buildah("from", "scratch")
    buildah("add", container, archive, "/")
    archive.unlink()
    buildah("run", container, "--", "/bin/ln", "-s", "python3", "/usr/bin/python")
    buildah("config", "--env", f"PATH={PATH}", container)
    buildah("commit", "--quiet", "--rm", container, BASE)
    return BASE
