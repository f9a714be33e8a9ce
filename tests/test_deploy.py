"""The settings, metrics, stages, routes and commands that `deploy/` and the operating guide name exist."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import yaml
from command_line import maskery

from maskery.engine.timings import Stage
from maskery.settings import Settings

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "operating.md"
UNIT = ROOT / "deploy" / "maskery.service"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
COMPOSE = ROOT / "deploy" / "compose.yaml"
ALERTS = ROOT / "deploy" / "prometheus-alerts.yml"
DIAGRAM = ROOT / "docs" / "images" / "stages.svg"

PAGES = [GUIDE, DIAGRAM, *sorted(path for path in (ROOT / "deploy").rglob("*") if path.is_file())]

#: Of the series of a histogram or a counter.
_SUFFIXES = re.compile(r"_(bucket|sum|count)$")


def unit() -> dict[str, list[str]]:
    """The unit's options, each with all its values."""
    options: dict[str, list[str]] = {}
    for name, value in re.findall(r"^([A-Za-z]+)=(.*)$", UNIT.read_text(), re.M):
        options.setdefault(name, []).append(value)
    return options


def expressions() -> str:
    return "\n".join([ALERTS.read_text(), *re.findall(r"^```promql\n(.*?)^```", GUIDE.read_text(), re.M | re.S)])


@pytest.fixture(scope="module")
def exposition(start_server: Callable[..., Any]) -> str:
    """The metrics of a server with all caches that has segmented an image."""
    server = start_server(open_metrics="true", disk_cache_bytes="1000000")
    fields = {"model": "maskery/grabcut", "segment_prompt": [[[285, 150]]]}
    httpx.post(
        f"{server.url}/v1/images/segmentations",
        headers={"Authorization": f"Bearer {server.key}"},
        files={"image": (ROOT / "examples" / "photos" / "coffee.png").read_bytes()},
        data={"request": json.dumps(fields)},
        timeout=60,
    ).raise_for_status()
    httpx.get(f"{server.url}/health/ready").raise_for_status()
    return httpx.get(f"{server.url}/metrics").text


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda page: page.name
)
def test_named_settings_exist(page: Path) -> None:
    named = set(re.findall(r"MASKERY_([A-Z_]+[A-Z])", page.read_text()))
    # The settings file is named by a variable alone.
    assert named <= {"CONFIG", *(name.upper() for name in Settings.model_fields)}


@pytest.mark.slow
def test_metrics_named_in_the_guide_and_the_alerts_exist(exposition: str) -> None:
    families = set(re.findall(r"^# TYPE (\S+)", exposition, re.M))
    # Those of the encoder process appear when it starts; built-in models do not need it.
    families |= {f"maskery_encoder_{name}" for name in families if name.startswith("process_")}
    named = set(re.findall(r"`(maskery_[a-z_]+|process_[a-z_]+)`", GUIDE.read_text()))
    named |= set(re.findall(r"\b((?:maskery|process)_[a-z_]+)\b", expressions()))
    assert {_SUFFIXES.sub("", name) for name in named} <= families


@pytest.mark.slow
def test_the_guide_lists_every_metric(exposition: str) -> None:
    families = set(re.findall(r"^# TYPE (maskery_\S+)", exposition, re.M))
    derived = {name for name in families if name.endswith("_created")}
    assert families - derived <= set(re.findall(r"`(maskery_[a-z_]+)`", GUIDE.read_text()))


@pytest.mark.slow
def test_label_values_in_expressions_exist(exposition: str) -> None:
    for label in ("route", "stage", "queue"):
        used = set(re.findall(rf'{label}!?="([^"]+)"', expressions()))
        assert used <= set(re.findall(rf'{label}="([^"]+)"', exposition))


def test_the_guide_and_its_diagram_list_every_stage() -> None:
    stages = set(get_args(Stage))
    table = GUIDE.read_text().partition("| stage |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", table, re.M)) == stages
    assert stages <= set(re.findall(r">([a-z_]+)<", DIAGRAM.read_text()))


def test_the_services_of_the_compose_file_wait_for_each_other_and_stop_in_time() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    server = services["maskery"]
    assert (COMPOSE.parent / server["build"]["context"] / server["build"]["dockerfile"]).samefile(DOCKERFILE)
    assert set(server["depends_on"]) == set(services) - {"maskery"}
    assert all("healthcheck" in services[name] for name in server["depends_on"])
    # The image's own health check, folder and port.
    assert server["volumes"] == ["home:/var/lib/maskery"]
    assert server["ports"] == ["8484:8484"]
    extras = tomllib.loads((ROOT / "server" / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(server["build"]["args"]["EXTRAS"].strip("[]").split(",")) <= set(extras)
    assert int(server["stop_grace_period"].removesuffix("s")) >= Settings.model_fields["grace_period"].default + 10
    environment = {name.removeprefix("MASKERY_").lower(): value for name, value in server["environment"].items()}
    password = {key: str(value).replace("${POSTGRES_PASSWORD:?set it}", "secret") for key, value in environment.items()}
    assert Settings.load(**password).database_url.endswith("@postgres/maskery")


def test_the_unit_starts_an_existing_command() -> None:
    program, *arguments = shlex.split(unit()["ExecStart"][0])
    assert Path(program).name == "maskery"
    assert maskery(*arguments, "--help").returncode == 0


def test_stop_timeouts_are_longer_than_the_grace_period() -> None:
    grace = Settings.model_fields["grace_period"].default
    assert int(unit()["TimeoutStopSec"][0]) >= grace + 10
    waits = re.findall(r"--stop-timeout (\d+)|`terminationGracePeriodSeconds` is (\d+)", GUIDE.read_text())
    assert len(waits) == 2
    assert all(int(first or second) >= grace + 10 for first, second in waits)


def test_the_unit_has_the_options_that_the_server_needs() -> None:
    service = unit()
    assert service["KillMode"] == ["mixed"]
    assert service["OOMPolicy"] == ["continue"]
    # Else the first key would be in the journal.
    assert service["StandardOutput"] == ["null"]
    # Its default is that of standard output, and the log would be lost.
    assert service["StandardError"] == ["journal"]
    assert f"MASKERY_HOME=%S/{service['StateDirectory'][0]}" in service["Environment"]
    # OpenVINO compiles code at run time.
    assert "MemoryDenyWriteExecute" not in service


@pytest.mark.services
def test_systemd_accepts_the_unit_and_finds_it_confined(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    # systemd wants the program to exist; warnings, of unknown options for instance, go to standard error.
    copy.write_text(UNIT.read_text().replace("/opt/maskery/bin/maskery", "/bin/true"))
    verified = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=60)
    assert (verified.returncode, verified.stderr) == (0, "")
    # In tenths of 0 (confined) to 10; the unit has 1.5.
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(copy)]
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0


@pytest.mark.slow
def test_the_image_starts_an_existing_command_and_checks_an_existing_route(server: Any) -> None:
    lines = DOCKERFILE.read_text()
    assert [json.loads(found) for found in re.findall(r"^(?:ENTRYPOINT|CMD) (.*)$", lines, re.M)] == [
        ["maskery"],
        ["serve"],
    ]
    _, *command = json.loads(re.search(r"^HEALTHCHECK .*? CMD (.*)$", lines, re.M)[1])  # type: ignore[index]
    port = server.url.rpartition(":")[2]
    for number, status in ((port, 0), ("1", 1)):
        result = subprocess.run(
            [sys.executable, *command], env={"MASKERY_PORT": number}, capture_output=True, timeout=60
        )
        assert result.returncode == status
    assert re.search(r"^USER [1-9]\d*$", lines, re.M)
    assert "MASKERY_HOST=0.0.0.0" in lines


def test_the_files_that_the_image_copies_are_in_the_build_context() -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE.read_text(), re.M)
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    assert copied == [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert all((ROOT / each).exists() for each in copied)
