"""Draw the packages of the server and their imports: `python docs/structure.py` writes docs/images/structure.svg.

A package stands below every package that imports it, as high as that allows. An arrow is left out where a longer path
says the same.
"""

import ast
import textwrap
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "server" / "src" / "maskery"
PICTURE = ROOT / "docs" / "images" / "structure.svg"

WIDTH, BOX, HEIGHT, GAP = 1000, 236, 92, 48


def packages() -> dict[str, Path]:
    """Packages and single modules of the server, by name, without the package's own `__init__` and `__main__`."""
    found = {path.parent.name: path for path in SOURCE.glob("*/__init__.py")}
    return found | {path.stem: path for path in SOURCE.glob("*.py") if not path.stem.startswith("__")}


def summary(path: Path) -> str:
    """The first sentence of a module's docstring."""
    text = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0]
    return " ".join(text.split())


def imports(path: Path, names: set[str]) -> set[str]:
    """Packages that a package, or a module, imports anywhere."""
    found = set()
    for file in path.parent.rglob("*.py") if path.name == "__init__.py" else (path,):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "maskery":
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("maskery."):
                found.add((node.module or "").split(".")[1])
    own = path.parent.name if path.name == "__init__.py" else path.stem
    return (found & names) - {own}


def layers(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Packages by the length of the longest path from one that is not imported, the topmost first.

    Raises:
        ValueError: packages import each other in a circle.
    """
    levels = dict.fromkeys(arrows, 0)

    def push(name: str, level: int, path: tuple[str, ...]) -> None:
        if name in path:
            raise ValueError(f"packages import each other: {' -> '.join([*path, name])}")
        levels[name] = max(levels[name], level)
        for other in arrows[name]:
            push(other, level + 1, (*path, name))

    for name in arrows:
        push(name, 0, ())
    return [sorted(name for name in arrows if levels[name] == each) for each in range(max(levels.values()) + 1)]


def reduced(arrows: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The arrows that no longer path implies."""

    def below(name: str) -> set[str]:
        return {deeper for other in arrows[name] for deeper in {other, *below(other)}}

    kept = []
    for name, others in arrows.items():
        implied = {deeper for other in others for deeper in below(other)}
        kept += [(name, other) for other in sorted(others - implied)]
    return kept


def draw() -> str:
    """The picture, as SVG."""
    paths = packages()
    arrows = {name: imports(path, set(paths)) for name, path in sorted(paths.items())}
    rows = layers(arrows)
    at = {}
    for number, row in enumerate(rows):
        space = WIDTH / len(row)
        for index, name in enumerate(row):
            at[name] = (space * (index + 0.5), number * (HEIGHT + GAP) + 8)
    height = len(rows) * (HEIGHT + GAP) - GAP + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif">',
        "<title>The packages of the server; arrows are imports, and all of them point down</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#64748b"/></marker></defs>',
    ]
    for above, below in reduced(arrows):
        (x0, y0), (x1, y1) = at[above], at[below]
        bend = (y1 - y0 - HEIGHT) / 2
        parts.append(
            f'<path d="M{x0:.0f} {y0 + HEIGHT:.0f} C{x0:.0f} {y0 + HEIGHT + bend:.0f} {x1:.0f} {y1 - bend:.0f} '
            f'{x1:.0f} {y1:.0f}" fill="none" stroke="#64748b" stroke-width="1.3" marker-end="url(#head)"/>'
        )
    for name, (x, y) in at.items():
        left = x - BOX / 2
        parts.append(
            f'<rect x="{left:.0f}" y="{y:.0f}" width="{BOX}" height="{HEIGHT}" rx="8" fill="#f1f5f9" stroke="#334155"/>'
            f'<text x="{left + 12:.0f}" y="{y + 22:.0f}" font-size="15" font-weight="600" fill="#0f172a">{name}</text>'
        )
        for index, line in enumerate(textwrap.wrap(summary(paths[name]), 34, max_lines=4, placeholder=" …")):
            parts.append(
                f'<text x="{left + 12:.0f}" y="{y + 42 + 15 * index:.0f}" font-size="12" fill="#334155">'
                f"{escape(line)}</text>"
            )
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw())
