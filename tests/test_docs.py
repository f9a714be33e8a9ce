"""Every Python and sh block of the README and the guides runs as written; console blocks are for the reader."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from maskery.api.schemas.segmentation import SegmentationRequest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "sdk" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str) -> list[Any]:
    found = []
    for page in PAGES:
        for number, match in enumerate(re.finditer(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)):
            # `make test` runs those of the READMEs.
            marks = () if page.name == "README.md" else (pytest.mark.slow,)
            found.append(pytest.param(match[1], id=f"{page.relative_to(ROOT)}-{number + 1}", marks=marks))
    return found


@pytest.fixture
def run(server: Any, tmp_path: Path) -> Any:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {
        **os.environ,
        "AIR_BASE_URL": server.url,
        "AIR_API_KEY": server.key,
        "MASKERY_HOME": str(tmp_path / "home"),
        # `maskery keys create` in a block creates keys for the server.
        "MASKERY_DATABASE_URL": f"sqlite:///{server.home / 'maskery.db'}",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }

    def run(*command: str) -> None:
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stdout + result.stderr

    return run


@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks_run(run: Any, code: str) -> None:
    run(sys.executable, "-W", "error", "-c", code)


@pytest.mark.parametrize("code", blocks("sh"))
def test_shell_blocks_run(run: Any, code: str) -> None:
    assert not re.search(r"\bpip (un)?install\b", code), "it would change this environment: make it a console block"
    run("bash", "-euo", "pipefail", "-c", code)


def test_the_readmes_make_commands_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"^make ([a-z-]+)", (ROOT / "README.md").read_text(), re.M))
    assert {"demo", "test"} <= named <= targets


def test_the_table_of_options_lists_the_fields_of_a_request() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    table = page.partition("| field | type |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", table, re.M)) == set(SegmentationRequest.model_fields)


def test_links_inside_the_repository_are_not_broken() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_table_of_errors_lists_every_code_of_the_server() -> None:
    table = (ROOT / "docs" / "api.md").read_text().partition("| status | code |")[2].partition("\n\n")[0]
    documented = set(re.findall(r"`([a-z_]+)`", table.replace("`Retry-After`", "")))
    used = set()
    server = ROOT / "server" / "src" / "maskery"
    for path in (*(server / "api").rglob("*.py"), *(server / "cluster").glob("*.py")):
        source = path.read_text()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("ApiError", "_unauthorized", "_forbidden"):
                codes = [each.value for each in ast.walk(node.args[1]) if isinstance(each, ast.Constant)]
                used |= {code for code in codes if re.fullmatch("[a-z_]+", str(code))}
        used |= set(re.findall(r'": "([a-z]+_key)"', source))
    assert used <= documented
    assert documented - used <= {"not_found", "method_not_allowed", "model_not_installed", "model_not_found"}


def test_the_drawing_of_the_structure_is_up_to_date() -> None:
    drawn = subprocess.run(
        [sys.executable, "-c", "import structure; print(structure.draw(), end='')"],
        cwd=ROOT / "docs",
        capture_output=True,
        text=True,
        check=True,
    )
    assert drawn.stdout == (ROOT / "docs" / "images" / "structure.svg").read_text(), "run: python docs/structure.py"
