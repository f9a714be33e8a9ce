"""The package's own imports stand at the top of modules, and run one way."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import air

PACKAGE = Path(air.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imported(name, path):
    """Names of the package's modules that a module imports, those for type checkers too."""
    folder = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    if name == "__init__":
        folder = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            start = [*folder[: len(folder) - node.level + 1], *filter(None, (node.module or "").split("."))]
            module = ".".join(start)
            for alias in node.names:
                inner = f"{module}.{alias.name}".lstrip(".")
                yield inner if inner in MODULES else module


def test_modules_import_each_other_in_one_direction():
    graph = {name: set(imported(name, path)) for name, path in MODULES.items()}
    assert "_transport" in graph["client"]
    assert "_encoding" in graph["types.images"]
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_no_function_imports():
    for path in MODULES.values():
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                inner = [node for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)]
                assert not inner, f"{path.name}: {function.name}"
