"""Hooks of mkdocs: pages from outside of `docs/`, and links that work on a repository's host and on the site.

Pages are written for the repository, where links are relative to their files. Here a link to a file that is a page of
the site becomes a link to that page; a link to another file of the repository becomes its text.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]

#: Pages that lie outside of `docs/`, by their names on the site.
ELSEWHERE = {
    "index.md": "README.md",
    "sdk.md": "sdk/README.md",
    "changelog.md": "CHANGELOG.md",
    "security-policy.md": "SECURITY.md",
}

#: Pages that a search for their subject should find first.
BOOSTED = {
    "api.md": 6.0,
    "scaling.md": 6.0,
    "accounts.md": 4.0,
    "cvat.md": 6.0,
    "decisions.md": 0.001,
    "changelog.md": 0.001,
}

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|#|mailto:)([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    for name, source in ELSEWHERE.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text()))
    icon = ROOT / "server" / "src" / "maskery" / "playground" / "icon.svg"
    files.append(File.generated(config, "images/icon.svg", content=icon.read_bytes()))
    # Made by docs/openapi.py, which needs the server's environment.
    for path in sorted((ROOT / "build" / "openapi").iterdir()):
        files.append(File.generated(config, f"openapi/{path.name}", content=path.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    name = page.file.src_uri
    if name in BOOSTED:
        page.meta["search"] = {"boost": BOOSTED[name]}
    source = ELSEWHERE.get(name, f"docs/{name}")
    sites = {repository: site for site, repository in ELSEWHERE.items()}

    def link(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        site = sites.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if site is None or files.get_file_from_path(site) is None:
            return text
        return f"{image}[{text}]({posixpath.relpath(site, posixpath.dirname(name) or '.')}{anchor or ''})"

    return _LINK.sub(link, markdown)
