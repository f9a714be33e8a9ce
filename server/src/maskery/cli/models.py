"""`maskery models`: list, install, quantize and remove models."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from maskery.api.model_settings import image_limits, registry_factory
from maskery.cli.files import list_folder, read_file
from maskery.cli.tables import new_table, print_table
from maskery.errors import UserError
from maskery.models import CATALOG, CompileCache, Registry, Store
from maskery.models.store import Progress as Report
from maskery.models.store import readable
from maskery.segmentation import Image, NotAnImage, open_image
from maskery.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name, owner/name.")]


@app.command("list")
def list_models() -> None:
    """List the models of this machine and those that can be installed, and say what networks run on."""
    settings = Settings.load()
    cards = {card.name: card for card in Store(settings.models).installed()}
    built_in = [entry.name for entry in CATALOG.values() if entry.built_in]
    table = new_table("model", "state", numbers=("weights",))
    table.add_column("licence")
    table.add_column("about")
    for name in dict.fromkeys([*built_in, *cards, *CATALOG]):
        entry, card = CATALOG.get(name), cards.get(name)
        state = "installed" if card else "built in" if name in built_in else "not installed"
        licence = card.licence if card else entry.licence if entry else None
        about = entry.summary if entry else f"from {card.source}" if card else ""
        table.add_row(name, state, readable(card.nbytes) if card else "", licence or "", about)
    print_table(table)
    typer.echo(f"Networks run by {registry_factory(settings)().execution()}.")


@app.command()
def install(
    name: Name,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Install from a folder instead of a hub."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Commit, branch or tag on the hub. Default: its main branch.")
    ] = None,
) -> None:
    """Install a model from a Hugging Face hub or from a folder.

    A folder holds config.json, model.safetensors and preprocessor_config.json,
    as transformers saves them; its model may have any name.

    HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are honoured.
    An interrupted download is resumed.
    """
    if source and revision:
        raise UserError("--revision selects a revision on a hub; with --from there is none: leave one of them out.")
    store = _store()
    with _bars() as report:
        if source:
            card = store.install_from_folder(name, source, report)
        else:
            card = store.install_from_hub(name, revision, report)
    typer.echo(f"{card.name} installed: revision {card.revision[:12]}, {readable(card.nbytes)}.")


@app.command()
def quantize(
    name: Name,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of images like those the model will segment; the first 32 are used."),
    ] = None,
) -> None:
    """Quantize a model's image encoder to int8: less exact, and faster on processors with VNNI.

    The result is stored beside the weights and used with MASKERY_PRECISION=int8.
    The agreement of its masks with those of f32 is printed and stored.

    Needs `pip install "maskery\\[quantize]"`.
    """
    from maskery.models.runtime import multiplies_int8  # noqa: PLC0415
    from maskery.models.sam.quantize import MAX_IMAGES, MissingExtra  # noqa: PLC0415
    from maskery.models.sam.quantize import quantize as make  # noqa: PLC0415

    if name in CATALOG and CATALOG[name].built_in:
        raise UserError(f"{name} is built in; only installed models can be quantized.")
    store = _store()
    card = store.card(name)
    if images is None:
        raise UserError("--images DIR is missing: name a folder of images like those the model will segment.")
    if not multiplies_int8():
        typer.echo(
            "This processor has no instructions for products of 8-bit integers (VNNI): int8 was measured to be no "
            "faster than f32 on such processors.",
            err=True,
        )
    limits = image_limits(Settings.load())
    loaded: list[Image] = []
    for path in list_folder(images).need_images():
        with suppress(NotAnImage):
            if len(loaded) < MAX_IMAGES:
                loaded.append(open_image(read_file(path), limits=limits))
    if not loaded:
        raise UserError(f"{images} holds no image that can be read.")
    try:
        with _bars() as report:
            iou = make(name, store.get(name), card.revision, loaded, report)
    except MissingExtra as error:
        raise UserError(f"{error}.") from None
    store.record_int8(card, iou)
    typer.echo(f"{name} quantized to int8: mean IoU with f32 {iou:.4f} on {len(loaded)} images.")


@app.command()
def show(name: Name) -> None:
    """Show a model's licence, revision, source and files."""
    store, entry = _store(), CATALOG.get(name)
    card = store.find(name)
    if not (card or entry):
        Registry(store=store).describe(name)  # raises, with the nearest name
    rows: list[tuple[str, str | None]] = [("model", name)]
    if card:
        rows += [
            ("state", "installed"),
            ("architecture", card.architecture),
            ("licence", card.licence),
            ("revision", card.revision),
            ("source", card.source),
            ("weights", f"{readable(card.nbytes)}, SHA-256 {card.sha256}"),
            ("int8", f"mean IoU with f32 {card.int8_iou:.4f}" if card.int8_iou is not None else None),
            ("installed", datetime.fromtimestamp(card.installed, UTC).strftime("%Y-%m-%d %H:%M UTC")),
            ("folder", str(store.get(name))),
        ]
    elif entry:
        how = "built in" if entry.built_in else f"not installed: maskery models install {name}"
        rows += [
            ("state", how),
            ("architecture", entry.architecture),
            ("licence", entry.licence),
        ]
    if entry:
        rows += [
            ("parameters", f"{entry.parameters} million" if entry.parameters else None),
            ("about", entry.summary),
        ]
    table = new_table("", "")
    table.show_header = False
    for label, value in rows:
        if value:
            table.add_row(label, value)
    print_table(table)


@app.command()
def remove(name: Name) -> None:
    """Delete an installed model."""
    if name in CATALOG and CATALOG[name].built_in:
        raise UserError(f"{name} is built in and cannot be removed.")
    settings = Settings.load()
    Store(settings.models).remove(name)
    CompileCache(settings.compile_cache).remove(name)
    typer.echo(f"{name} removed.")


def _store() -> Store:
    return Store(Settings.load().models)


@contextmanager
def _bars() -> Iterator[Report]:
    """Progress bars on standard error: one for each step of each file."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    progress = Progress(*columns, console=Console(stderr=True, soft_wrap=True, highlight=False))

    def report(step: str, done: int, total: int | None) -> None:
        if step not in tasks:
            progress.start()
            tasks[step] = progress.add_task(step, total=total)
        progress.update(tasks[step], completed=done)

    try:
        yield report
    finally:
        if tasks:
            progress.stop()
