"""`maskery segment`: an image, or a folder of them, without writing a program."""

import base64
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from maskery.cli import overlay
from maskery.cli.errors import CommandError
from maskery.cli.outputs import check_outputs, reading_path
from maskery.cli.prompts import read_prompt
from maskery.cli.sources import Answer, Source, local, remote
from maskery.models import DEFAULT_MODEL
from maskery.resources import processors
from maskery.segmentation import Exif, SegmentationError, open_image

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff"})


class Format(StrEnum):
    """What is written: a PNG, or JSON with a mask per segment."""

    png = "png"
    rle = "rle"
    polygons = "polygons"


def segment(
    image: Annotated[Path, typer.Argument(help="An image, or a folder of images that get the same prompt.")],
    point: Annotated[
        list[str] | None,
        typer.Option("--point", "-p", metavar="X,Y[,0]", help="A point on the object; X,Y,0 is one that is not on it."),
    ] = None,
    box: Annotated[str | None, typer.Option(metavar="X0,Y0,X1,Y1", help="A box around the object.")] = None,
    mask_prompt: Annotated[Path | None, typer.Option(help="A mask of the image's size to start from, PNG.")] = None,
    objects: Annotated[
        list[str] | None,
        typer.Option(
            "--object", metavar='"X,Y X,Y …"', help="One more object, by its points and box. May be repeated."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The mask's file, or for a folder the folder of masks.")
    ] = None,
    overlay_path: Annotated[
        Path | None, typer.Option("--overlay", help="Also the image with the mask drawn over it (or a folder).")
    ] = None,
    output_format: Annotated[
        Format, typer.Option("--format", help="png, or JSON with COCO RLE or polygons for each segment.")
    ] = Format.png,
    n: Annotated[
        int | None,
        typer.Option(min=1, max=3, help="Readings of an ambiguous click, best first: mask.png, mask-2.png …"),
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Size of the mask; else the image's own.")] = None,
    exif: Annotated[str | None, typer.Option(help="apply or ignore the image's EXIF orientation.")] = None,
    merge_iou: Annotated[
        float | None, typer.Option(help="Objects whose masks agree this much are one segment; 1: never.")
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Every object's whole mask, overlaps kept; with --format rle or polygons.")
    ] = False,
    model: Annotated[str, typer.Option(help="Name of an installed model.")] = DEFAULT_MODEL,
    url: Annotated[str | None, typer.Option(help="Ask a server at this address; else it is done here.")] = None,
    key: Annotated[
        str | None, typer.Option(envvar=["MASKERY_API_KEY", "AIR_API_KEY"], help="The server's API key, with --url.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for a server's answer.")] = 60.0,
) -> None:
    """Segment an image: one mask in which every object has its own value, 1, 2, …

    Points are in pixels from the top left corner of the image as one sees it. --point and --box are of one object.

    A folder's cat.jpg becomes cat.jpg.png, or with other formats cat.jpg.json. Folders that are missing are made.

      maskery segment cat.jpg --point 220,120 -o mask.png --overlay overlay.png

      maskery segment desk.jpg --point 450,600 --object "120,80 130,95 200,90,0"
    """
    # A day; the check of a range lets "nan" through.
    if not 0 < timeout <= 86_400:
        raise CommandError("--timeout is a number of seconds, at most a day.")
    if overlay_path and output_format is not Format.png:
        raise CommandError("--overlay needs --format png.")
    suffix = "png" if output_format is Format.png else "json"
    masks = output or Path("masks" if image.is_dir() else f"mask.{suffix}")
    check_outputs(image, masks, overlay_path, suffix, n or 1)
    options = {
        "model": model,
        **read_prompt(point or [], box, mask_prompt, objects or []),
        "n": n,
        "size": size,
        "exif": exif,
        "response_format": None if output_format is Format.png else output_format.value,
        "compose": False if whole else None,
        "merge_iou": merge_iou,
    }
    fields = {name: value for name, value in options.items() if value is not None}
    source = remote(fields, url, key, timeout) if url else local(fields)
    task = _Task(source, suffix, "ignore" if exif == "ignore" else "apply")
    if image.is_dir():
        task.folder(image, masks, overlay_path)
    else:
        for line in task.file(image, masks, overlay_path):
            typer.echo(line)


@dataclass(frozen=True)
class _Task:
    """The same question for every image."""

    source: Source
    suffix: str
    exif: Exif

    def file(self, path: Path, output: Path, overlay_path: Path | None) -> list[str]:
        """Segment one image; lines that say what was found and written."""
        try:
            image = path.read_bytes()
        except OSError as error:
            raise CommandError(f"cannot read {path}: {error.strerror}.") from None
        answer = self.source(image)
        lines = [_line(segment) for segment in answer["data"][0]["segments"]]
        for file, data in self._files(answer, output):
            _write(file, data)
            lines.append(f"mask: {file}")
        if overlay_path:
            values = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"]))))
            _write(overlay_path, _png(overlay.draw(open_image(image, self.exif).pixels, values)))
            lines.append(f"overlay: {overlay_path}")
        return lines

    def folder(self, folder: Path, output: Path, overlays: Path | None) -> None:
        """Segment every image of a folder, several at a time; a bad one does not stop the others."""
        images = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
        if not images:
            raise CommandError(f"{folder} holds no images.")

        def attempt(path: Path) -> str | None:
            name = f"{path.name}.{self.suffix}"
            try:
                self.file(path, output / name, overlays / name if overlays else None)
            except (SegmentationError, CommandError) as error:
                return f"{path}: {error}"
            return None

        console = Console(stderr=True, soft_wrap=True, highlight=False)
        with ThreadPoolExecutor(processors()) as pool, Progress(console=console) as progress:
            results = progress.track(pool.map(attempt, images), total=len(images), description="segmenting")
            failures = [failure for failure in results if failure]
        typer.echo(f"{len(images) - len(failures)} of {len(images)} images segmented, masks in {output}")
        if failures:
            raise CommandError("\n".join([f"{len(failures)} failed:", *failures]))

    def _files(self, answer: Answer, output: Path) -> Iterator[tuple[Path, bytes]]:
        if self.suffix == "json":
            yield output, json.dumps(answer["data"]).encode()
            return
        for reading, mask in enumerate(answer["data"], start=1):
            yield reading_path(output, reading), base64.b64decode(mask["b64_json"])


def _png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}.") from None


def _line(segment: dict[str, Any]) -> str:
    if not segment["area"]:
        return f"object {segment['value']}: empty, score {segment['score']:.2f}"
    x, y, width, height = segment["bbox"]
    size = f"{segment['area']:,} pixels, {width} x {height} at {x},{y}"
    return f"object {segment['value']}: score {segment['score']:.2f}, {size}"
