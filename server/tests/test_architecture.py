"""Imports run downwards only, and neither distribution imports the other."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "server" / "src" / "maskery"

# What each package may import, beside itself and libraries.
ALLOWED: dict[str, set[str]] = {
    "segmentation": set(),
    "models": {"segmentation"},
    "errors": set(),
    "logs": set(),
    "engine": {"segmentation", "logs"},
    "resources": set(),
    "accounts": set(),
    "playground": set(),
    "settings": {"logs", "resources"},
    "bridges": {"segmentation", "engine"},
    "api": {"segmentation", "models", "engine", "accounts", "settings", "logs", "playground", "bridges"},
    "serving": {"settings", "api"},
    "cli": {
        "segmentation",
        "models",
        "engine",
        "accounts",
        "settings",
        "api",
        "serving",
        "cluster",
        "logs",
        "resources",
        "__version__",
    },
    "cluster": {"api", "serving", "settings", "logs"},
    "__main__": {"cli"},
    "__init__": set(),
}


def imports(path: Path) -> set[str]:
    """Dotted names of a file's imports, those inside functions included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inside = "." * node.level
            names |= {f"{inside}{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", sorted(SERVER.rglob("*.py")), ids=lambda path: str(path.relative_to(SERVER)))
def test_imports_run_downwards(path: Path) -> None:
    room = path.relative_to(SERVER).parts[0].removesuffix(".py")
    for name in imports(path):
        package, _, rest = name.partition(".")
        assert package != "air", f"{path} imports the SDK"
        if package == "maskery":
            other = rest.partition(".")[0]
            assert other in ALLOWED[room] | {room, "errors"}, f"{room} must not import {other}"


@pytest.mark.parametrize("path", sorted((ROOT / "sdk" / "src").rglob("*.py")), ids=lambda path: path.name)
def test_the_sdk_does_not_import_the_server(path: Path) -> None:
    assert not any(name.partition(".")[0] == "maskery" for name in imports(path))


def test_segmentation_imports_no_framework() -> None:
    outside = {"fastapi", "starlette", "pydantic", "sqlalchemy", "uvicorn", "httpx", "typer"}
    for path in (SERVER / "segmentation").rglob("*.py"):
        assert not {name.partition(".")[0] for name in imports(path)} & outside


def test_importing_the_engine_loads_no_inference_runtime_database_or_framework() -> None:
    outside = ["openvino", "onnxruntime", "sqlalchemy", "fastapi", "pydantic", "maskery.models", "maskery.accounts"]
    program = (
        f"import json, sys, maskery.engine; print(json.dumps([name for name in {outside} if name in sys.modules]))"
    )
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert json.loads(output) == []
