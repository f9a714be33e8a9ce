"""`maskery prepare`: have a server encode the images in a folder in advance."""

import json
from bisect import bisect
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from maskery.api.schemas.segmentation import PreparedSchema
from maskery.cli.connection import ApiKey, Connection, ServerUnavailableError, connect
from maskery.cli.files import list_folder, read_file
from maskery.errors import UserError
from maskery.models import DEFAULT_MODEL

app = typer.Typer(add_completion=False)

_DAY = 86_400

# Failures that are printed.
_MAX_LINES = 20


@app.command()
def prepare(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of images.")],
    model: Annotated[str, typer.Option(help="The model to encode them for, as the server names it.")] = DEFAULT_MODEL,
    url: Annotated[str, typer.Option(envvar="AIR_BASE_URL", help="Base URL of the server.")] = "http://127.0.0.1:8484",
    key: ApiKey = None,
    exif: Annotated[
        Literal["apply", "ignore"], typer.Option(help="Whether to apply the images' EXIF orientation.")
    ] = "apply",
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Images that are sent at the same time.")] = 2,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the server's answer to an image.")] = 300.0,
) -> None:
    """Have a server encode the images in a folder in advance, so that the first click on each is answered at once.

    Images that the server knows are not encoded again: after an interruption, run the same command once more.
    The server keeps as many images as its caches hold; with a disk cache (MASKERY_DISK_CACHE_BYTES) also after a
    restart.

      maskery prepare photos --model syscv-community/sam-hq-vit-base
    """
    if not url.strip():
        raise UserError("--url is empty: give the base URL of a server, such as http://127.0.0.1:8484.")
    # A range of typer's would let "nan" through.
    if not 0 < timeout <= _DAY:
        raise UserError(f"--timeout takes a number of seconds above 0, at most {_DAY:,}.")
    images = list_folder(folder).need_images()
    request = json.dumps({"model": model, "exif": exif})
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    with connect(url.strip(), key, timeout) as connection, Progress(console=console) as progress:
        task = progress.add_task("preparing", total=len(images))

        def attempt(path: Path) -> PreparedSchema | str:
            try:
                return connection.post("/v1/images", read_file(path), request, PreparedSchema)
            except UserError as error:
                return f"{path}: {error}"
            finally:
                progress.advance(task)

        pool = ThreadPoolExecutor(concurrency)
        try:
            results = list(pool.map(attempt, images))
        finally:
            # After Ctrl-C the images that were sent are finished, and no further ones are sent.
            pool.shutdown(cancel_futures=True)
        prepared = [each.id for each in results if isinstance(each, PreparedSchema)]
        evicted = _count_evicted(connection, prepared)
    typer.echo(f"{len(prepared) - evicted} of {len(images)} images prepared")
    failures = [each for each in results if isinstance(each, str)]
    lines = [f"{len(failures)} failed:"] if failures else []
    lines += failures[:_MAX_LINES]
    if len(failures) > _MAX_LINES:
        lines.append(f"and {len(failures) - _MAX_LINES:,} more.")
    if evicted:
        lines.append(
            f"The server has evicted {evicted:,} of the images from its cache again, for those that followed: raise "
            "its MASKERY_CACHE_BYTES, or have it keep them on disk with MASKERY_DISK_CACHE_BYTES."
        )
    if lines:
        raise UserError("\n".join(lines))


def _count_evicted(connection: Connection, ids: Sequence[str]) -> int:
    """The number of images that the server does not know any more. It evicts those first that were prepared first."""

    def is_known(image_id: str) -> bool:
        try:
            connection.get(f"/v1/images/{image_id}", PreparedSchema, session_id=image_id.split("_")[1])
        except ServerUnavailableError:
            raise
        except UserError:
            return False
        return True

    return bisect(ids, False, key=is_known)
