"""Speed of the server, compared with plain FastAPI and transformers servers: same weights and cores, in one run.

    python -m benchmarks.serving [--config base|small] [--folder DIR] [--servers NAME,…] [--results DIR]

One server at a time, in a process of its own, with clients in another. Every server is started, warmed up, measured in
the same scenarios, and stopped before the next one starts.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.arguments import CannotMeasure, need
from benchmarks.machine import describe as machine
from benchmarks.models import RESULTS, WEIGHTS, linked, write_missing
from benchmarks.serving import images
from benchmarks.serving.charts import draw
from benchmarks.serving.client_process import ClientsFailed
from benchmarks.serving.contenders import CannotInstall, contenders, install
from benchmarks.serving.measure import Setup, WrongAnswer
from benchmarks.serving.model_cost import ModelFailed
from benchmarks.serving.report import markdown, tables
from benchmarks.serving.scenarios import SCALES
from benchmarks.serving.server import ServerFailed
from maskery.models.runtime import best_precision

# Left out by default: f32 is usual, and a run takes long enough.
_OPTIONAL = ("cache-bf16",)
# Images whose pixels differ. Further new images differ only in their bytes, which does not change the time.
_DISTINCT = 8
# Width of the tables in a file or a pipe.
_WIDTH = 140


def main(arguments: Sequence[str] | None = None) -> int:
    every = contenders(best_precision())
    options = _options(arguments, list(every))
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    try:
        need("make bench-serving", "torch", "transformers")
        folder = options.folder or WEIGHTS / options.config
        write_missing(folder, options.config)
        chosen = {name: every[name] for name in options.servers}
        scale = SCALES[options.config]
        where = machine()
        start = time.monotonic()
        measured: dict[str, Any] = {}
        failed: dict[str, str] = {}
        with (
            console.status("making images") as status,
            linked(folder) as copy,
            tempfile.TemporaryDirectory(prefix="maskery-bench-") as temporary,
        ):
            album = Path(temporary, "images")
            album.mkdir()
            files = images.write(album, max(scale.images, _DISTINCT))
            home = Path(temporary, "home")
            complete(copy)
            key = install(copy, home)
            setup = Setup(copy, home, key, album, scale, int(where["cores"] or 1))
            sizes = [file.stat().st_size for file in files]
            for contender in chosen.values():
                try:
                    measured[contender.name] = setup.measure(contender, status.update)
                except (ModelFailed, ClientsFailed, ServerFailed, WrongAnswer) as error:
                    failed[contender.name] = str(error)
        if not measured:
            raise CannotMeasure("\n".join(failed.values()))
    except (CannotMeasure, CannotInstall, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    label = options.folder.resolve().name if options.folder else options.config
    report = {
        "title": f"Serving {label if options.folder else f'SAM-HQ, {label}'}",
        "machine": where,
        "versions": {
            name: version(name) for name in ("maskery", "openvino", "torch", "transformers", "fastapi", "uvicorn")
        },
        "seconds": time.monotonic() - start,
        "image_bytes": sum(sizes) / len(sizes),
        "servers": measured,
        "failed": failed,
    }
    target = options.results / f"serving-{label}"
    target.mkdir(parents=True, exist_ok=True)
    (target / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    (target / "results.md").write_text(markdown(report))
    draw(report, target)
    for table in tables(report):
        console.print(table)
    console.print(f"Results are in {target}", soft_wrap=True)
    return int(
        bool(failed) or any(each.get("errors") for server in measured.values() for each in server["scenarios"].values())
    )


def complete(folder: Path) -> None:
    """Add the padding size to the preprocessor's file, as the hub's folders have it."""
    file = folder / "preprocessor_config.json"
    if file.is_file():
        fields = json.loads(file.read_text())
        side = fields["size"]["longest_edge"]
        fields.setdefault("pad_size", {"height": side, "width": side})
        # Replace the link: the model's own folder is not changed.
        file.unlink()
        file.write_text(json.dumps(fields))


def _options(arguments: Sequence[str] | None, every: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--config", choices=SCALES, default="base", help="size of the random weights (default: base)")
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="folder of a SAM-HQ model; random weights are written to an empty one",
    )
    parser.add_argument(
        "--servers",
        type=lambda text: _names(text, every),
        default=[name for name in every if name not in _OPTIONAL],
        metavar="NAME,…",
        help=f"servers to measure: {', '.join(every)} (default: all but {', '.join(_OPTIONAL)})",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="folder for the results")
    return parser.parse_args(arguments)


def _names(text: str, every: Sequence[str]) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in every]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown server {unknown[0]!r}; the servers are {', '.join(every)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
