"""The playground, the web page at `/`: static modules, styles and images, without a build step."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent

# Not from the mimetypes module: its media type for .js depends on the platform.
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
}

#: Path of the HTML page.
INDEX = "index.html"


@dataclass(frozen=True)
class File:
    """A static file.

    Attributes:
        content: The bytes of the file.
        media_type: The value of the header Content-Type.
        etag: The value of the header ETag, derived from the content.
    """

    content: bytes
    media_type: str
    etag: str


def load() -> Mapping[str, File]:
    """Load all files of the page. Keys are paths with forward slashes."""
    found = sorted(path for path in _HERE.rglob("*") if path.suffix in _MEDIA_TYPES)
    return {path.relative_to(_HERE).as_posix(): _read(path) for path in found}


def _read(path: Path) -> File:
    content = path.read_bytes()
    return File(content, _MEDIA_TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:24]}"')
