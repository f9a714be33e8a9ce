"""Writes the API's description and the files that show it to a folder, for the documentation site: `make docs`."""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import fastapi_swagger

from maskery.api.app import create_app
from maskery.settings import Settings

_ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        description = create_app(Settings(home=Path(home))).openapi()
    (folder / "openapi.json").write_text(json.dumps(description))
    # A page that is opened from a disk cannot load JSON.
    options = json.dumps({"spec": description, "dom_id": "#swagger-ui", "supportedSubmitMethods": []})
    (folder / "openapi.js").write_text(f"SwaggerUIBundle({options});\n")
    package = Path(fastapi_swagger.__file__).parent
    for name in _ASSETS:
        (found,) = package.rglob(name)
        shutil.copy(found, folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
