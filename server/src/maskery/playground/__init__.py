"""The web page that a server shows at `/`: plain modules, styles and pictures, without a build step."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent

# By hand: what the platform's own table says of .js differs from machine to machine.
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
}

#: Path of the page itself.
INDEX = "index.html"


@dataclass(frozen=True)
class File:
    """A file of the page.

    Attributes:
        content: its bytes.
        media_type: as browsers want it.
        etag: changes with the content.
    """

    content: bytes
    media_type: str
    etag: str


def load() -> Mapping[str, File]:
    """All files of the page, by their path with forward slashes."""
    found = sorted(path for path in _HERE.rglob("*") if path.suffix in _MEDIA_TYPES)
    return {path.relative_to(_HERE).as_posix(): _read(path) for path in found}


def _read(path: Path) -> File:
    content = path.read_bytes()
    return File(content, _MEDIA_TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:24]}"')
