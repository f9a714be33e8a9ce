"""The wheels: built reproducibly, complete, and usable outside of the repository."""

import email
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
PHOTO = ROOT / "examples" / "photos" / "coffee.png"

PROGRAM = """
import sys
from pathlib import Path
import air
import maskery
assert not Path(maskery.__file__).is_relative_to(sys.argv[2]), maskery.__file__
client = air.AIRefinery(base_url=sys.argv[3], api_key=sys.argv[4])
mask = client.images.segment(Path(sys.argv[1]), None, "maskery/nano", boxes=[[160, 10, 480, 350]]).data[0]
values = mask.to_numpy()
assert values.shape == (400, 600) and values[150, 285] == 1, values.shape
mask.overlay(Path(sys.argv[1])).save("overlay.png")
print(air.__version__, maskery.__version__)
"""


def wheels() -> list[Path]:
    found = sorted(DIST.glob("*.whl"))
    assert [path.name.partition("-")[0] for path in found] == ["maskery", "maskery_sdk"], "run make dist"
    return found


def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


@pytest.mark.parametrize("index", [0, 1])
def test_a_wheel_holds_licence_types_and_a_readme_without_dead_links(index: int) -> None:
    wheel = wheels()[index]
    fields = metadata(wheel)
    assert fields["License-Expression"] == "Apache-2.0"
    assert fields["License-File"] == "LICENSE"
    assert fields["Author"] == "The Maskery developers"
    assert fields["Requires-Python"] == ">=3.11"
    assert len(fields.get_all("Classifier", [])) > 5
    readme = str(fields.get_payload())
    assert len(readme) > 1000
    links = re.findall(r"\]\(([^)]*)\)", readme)
    assert all(link.startswith(("https://", "#")) for link in links), links
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (licence,) = [name for name in names if name.endswith("licenses/LICENSE")]
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert any(name.endswith("/py.typed") for name in names)
    assert not any("test" in name or name.endswith(".pyc") for name in names)


def test_the_server_holds_its_page_its_model_and_the_sources_of_the_samples() -> None:
    with zipfile.ZipFile(wheels()[0]) as archive:
        names = set(archive.namelist())
        assert b"CC0" in archive.read("maskery/playground/samples/README.md")
    assert {"maskery/playground/index.html", "maskery/playground/app.js"} <= names
    assert any(name.startswith("maskery/models/builtin/") and name.endswith(".onnx") for name in names)


def test_versions_agree() -> None:
    versions = {metadata(wheel)["Version"] for wheel in wheels()}
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert cited
    assert versions == {cited[1]}
    assert f"## {cited[1]}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("project", ["sdk", "server"])
def test_the_same_source_makes_the_same_files(tmp_path: Path, project: str) -> None:
    copy = tmp_path / project
    shutil.copytree(ROOT / project, copy, ignore=shutil.ignore_patterns("tests", "__pycache__", "*.egg-info"))
    # It decides about what is left out.
    shutil.copy(ROOT / ".gitignore", tmp_path)
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    epoch = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True)
    command = [f"{os.environ['DIST']}/bin/python", "-m", "build", "--outdir", tmp_path / "dist", copy]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch.stdout.strip()}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    for path in (tmp_path / "dist").iterdir():
        assert path.read_bytes() == (DIST / path.name).read_bytes(), path.name


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh environment with both wheels, in a folder outside of the repository."""
    folder = tmp_path_factory.mktemp("outside")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    started = time.monotonic()
    server, sdk = wheels()
    pip = [folder / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, server, f"{sdk}[images]"], cwd=folder, check=True)
    size = sum(path.stat().st_size for path in (folder / "venv").rglob("*") if path.is_file())
    print(f"\ninstalled in {time.monotonic() - started:.0f} s, {size / 1e6:.0f} MB")
    yield folder
    shutil.rmtree(folder)


def test_the_demo_answers_and_the_sdk_segments_through_it(installed: Path) -> None:
    """Nothing of the repository is needed."""
    shutil.copy(PHOTO, installed)
    binaries = installed / "venv" / "bin"
    environment = {**os.environ, "MASKERY_HOME": str(installed / "home"), "PYTHONUNBUFFERED": "1"}
    environment.pop("PYTHONPATH", None)
    command = [binaries / "maskery", "demo", "--no-open", "--port", "0"]
    with subprocess.Popen(command, cwd=installed, env=environment, stdout=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout
            line = next(line for line in demo.stdout if "#key=" in line)
            address = re.search(r"(http://\S+)/#key=([^&\s]+)", line)
            assert address
            url, key = address.groups()
            arguments = [binaries / "python", "-c", PROGRAM, PHOTO.name, ROOT, url, key]
            program = subprocess.run(arguments, cwd=installed, env=environment, capture_output=True, text=True)
            assert program.returncode == 0, program.stderr
            assert len(set(program.stdout.split())) == 1, "both have the same version"
        finally:
            demo.terminate()
    assert (installed / "overlay.png").stat().st_size > 100_000


def test_commands_work_without_a_server(installed: Path) -> None:
    shutil.copy(PHOTO, installed)
    environment = {**os.environ, "MASKERY_HOME": str(installed / "home2")}
    run = [installed / "venv" / "bin" / "maskery", "segment", PHOTO.name, "--point", "285,150", "--format", "rle"]
    subprocess.run([*run, "-o", "mask.json"], cwd=installed, env=environment, check=True, capture_output=True)
    (mask,) = json.loads((installed / "mask.json").read_text())
    assert mask["segments"][0]["area"] > 1000
