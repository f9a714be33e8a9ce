"""`maskery models`: what can be asked for, and how it gets here."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from maskery.cli.errors import CommandError
from maskery.models import CATALOG, Registry, Store
from maskery.models.store import Progress as Report
from maskery.models.store import readable
from maskery.segmentation import Image, NotAnImage, open_image
from maskery.settings import Settings

app = typer.Typer(help="Show, install and remove the models that can be asked for.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name, owner/name.")]


@app.command("list")
def list_models() -> None:
    """Show the models of this machine, and those that are known."""
    cards = {card.name: card for card in _store().installed()}
    table = Table(
        Column("model", no_wrap=True),
        Column("state", no_wrap=True),
        Column("weights", no_wrap=True, justify="right"),
        "licence",
        "about",
        box=None,
        pad_edge=False,
    )
    built_in = [entry.name for entry in CATALOG.values() if entry.built_in]
    here = [*built_in, *cards]
    for name in [*here, *(name for name in CATALOG if name not in here)]:
        entry, card = CATALOG.get(name), cards.get(name)
        state = "installed" if card else "built in" if name in built_in else "not installed"
        licence = card.licence if card else entry.licence if entry else None
        about = entry.summary if entry else f"from {card.source}" if card else ""
        table.add_row(name, state, readable(card.nbytes) if card else "", licence or "", about)
    Console(soft_wrap=True, highlight=False, markup=False).print(table)


@app.command()
def install(
    name: Name,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="A folder with the model's files, instead of the hub."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Commit, branch or tag on the hub; its main branch unless set.")
    ] = None,
) -> None:
    """Install a model, from a Hugging Face hub or from a folder.

    A folder holds config.json, model.safetensors and preprocessor_config.json, as transformers saves them; its model
    may have any name. HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are honoured. A download that broke off goes on where
    it was.
    """
    if source and revision:
        raise CommandError("--revision is of a hub; a folder has none.")
    store = _store()
    with _bars() as report:
        if source:
            card = store.install_from_folder(name, source, report)
        else:
            card = store.install_from_hub(name, revision, report)
    typer.echo(f"{card.name} is installed: revision {card.revision[:12]}, {readable(card.nbytes)}.")


@app.command()
def quantize(
    name: Name,
    images: Annotated[
        Path, typer.Option(metavar="DIR", help="Images like those it will be used on; the first 32 are taken.")
    ],
) -> None:
    """Make a model's int8 form: its image encoder in 8-bit integers, faster and less exact.

    It is kept beside the weights and used only with MASKERY_PRECISION=int8. How well its masks agree with those of f32
    on the images is printed and stored. Needs `pip install "maskery\\[quantize]"`.
    """
    from maskery.models.sam.quantize import MAX_IMAGES, MissingExtra  # noqa: PLC0415
    from maskery.models.sam.quantize import quantize as make  # noqa: PLC0415

    store = _store()
    card = store.card(name)
    limits = Settings.load().image_limits
    if not images.is_dir():
        raise CommandError(f"{images} is not a folder of images.")
    loaded: list[Image] = []
    for path in sorted(images.iterdir()):
        with suppress(NotAnImage):
            if path.is_file() and len(loaded) < MAX_IMAGES:
                loaded.append(open_image(path.read_bytes(), limits=limits))
    if not loaded:
        raise CommandError(f"{images} holds no images.")
    try:
        with _bars() as report:
            iou = make(name, store.get(name), card.revision, loaded, report)
    except MissingExtra as error:
        raise CommandError(f"{error}.") from None
    store.record(replace(card, int8_iou=iou))
    typer.echo(f"{name} has an int8 form: mean IoU with f32 {iou:.4f} on {len(loaded)} images.")


@app.command()
def show(name: Name) -> None:
    """Show what is known of a model."""
    store, entry = _store(), CATALOG.get(name)
    card = store.find(name)
    if not (card or entry):
        Registry(store=store).describe(name)  # raises, with what was perhaps meant
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
    table = Table(box=None, pad_edge=False, show_header=False)
    for label, value in rows:
        if value:
            table.add_row(label, value)
    Console(soft_wrap=True, highlight=False, markup=False).print(table)


@app.command()
def remove(name: Name) -> None:
    """Delete an installed model."""
    if name in CATALOG and CATALOG[name].built_in:
        raise CommandError(f"{name} is built in and stays.")
    _store().remove(name)
    typer.echo(f"{name} is removed.")


def _store() -> Store:
    return Store(Settings.load().models)


@contextmanager
def _bars() -> Iterator[Report]:
    """A progress bar for every step of every file, on standard error."""
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
