"""The image of `deploy/Dockerfile` is built, and its server answers."""

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
PHOTO = ROOT / "examples" / "photos" / "coffee.png"


@pytest.fixture(scope="module")
def image(buildah: Any, base_image: str) -> str:
    assert re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.M) == [base_image.rpartition("/")[2]] * 2
    # Certificates of this machine, for the package index.
    certificates = "/etc/ssl/certs:/etc/ssl/certs:ro"
    build = ("build", "--quiet", "--pull=never", "--volume", certificates, "--file", DOCKERFILE, "--tag", "maskery")
    buildah(*build, ".")
    return "maskery"


def test_the_image_has_a_user_a_volume_and_a_health_check(buildah: Any, image: str) -> None:
    config = json.loads(buildah("inspect", "--type", "image", image))["OCIv1"]["config"]
    assert config["User"] == "10001"
    assert config["Volumes"] == {"/var/lib/maskery": {}}
    assert config["Entrypoint"] == ["maskery"]
    assert config["Cmd"] == ["serve"]


#: What an operator does, in the container: refused without a key, then a key, a request, the health check, and the end.
SCRIPT = """
set -eu
maskery serve && exit 1 || true
export AIR_API_KEY=$(maskery keys create --account team --quiet)
maskery serve >/tmp/serve.log &
server=$!
health() { python -c "$HEALTH"; }
for attempt in $(seq 100); do health 2>/dev/null && break || sleep 0.2; done
health
maskery segment /tmp/photo.png --url http://127.0.0.1:$MASKERY_PORT --box 160,10,480,350 -o /tmp/mask.png
kill -TERM $server
wait $server && echo "stopped with $?"
health 2>/dev/null && exit 1 || echo "unhealthy when stopped"
"""


def test_a_container_creates_keys_serves_and_stops(buildah: Any, image: str) -> None:
    container = buildah("from", "--pull=never", image)
    buildah("add", container, PHOTO, "/tmp/photo.png")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (check,) = re.findall(r'^HEALTHCHECK .* CMD \["python", "-c", "(.*)"\]$', DOCKERFILE.read_text(), re.M)
    variables = {"MASKERY_PORT": str(port), "HEALTH": json.loads(f'"{check}"')}
    options = [option for name, value in variables.items() for option in ("--env", f"{name}={value}")]
    assert buildah("run", container, "--", "id", "-u") == "10001"
    said = buildah("run", *options, container, "--", "timeout", "90", "sh", "-c", SCRIPT)
    assert "object 1: score" in said
    assert said.endswith("stopped with 0\nunhealthy when stopped")
