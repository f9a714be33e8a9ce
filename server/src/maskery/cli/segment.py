"""`maskery segment`: segment an image, or every image in a folder."""

import base64
import io
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from maskery.api.schemas.segmentation import MaskSchema, ResponseFormat, SegmentationResponse, SegmentSchema
from maskery.cli.coco import to_coco
from maskery.cli.connection import ApiKey, ServerUrl
from maskery.cli.files import (
    STANDARD,
    candidate_path,
    check_file,
    check_names,
    check_outputs,
    find_images,
    read_file,
    write_file,
)
from maskery.cli.overlay import ACCEPTED, draw_overlay
from maskery.cli.prompts import PromptOptions, read_prompt
from maskery.cli.segmenters import Request, Segmenter, local, remote
from maskery.errors import UserError
from maskery.models import DEFAULT_MODEL
from maskery.resources import processors
from maskery.segmentation import MERGE_IOU, AutomaticOptions, Exif, Options, PromptError, Size, open_image

app = typer.Typer(add_completion=False)

Result = TypeVar("Result")

_DAY = 86_400

# Names of skipped files that are printed.
_MAX_NAMES = 5


class Format(StrEnum):
    """What is written: a PNG, JSON with a mask per segment, or a COCO file with RLE or polygons."""

    png = "png"
    rle = "rle"
    polygons = "polygons"
    coco = "coco"
    coco_polygons = "coco-polygons"

    @property
    def is_coco(self) -> bool:
        return self in (Format.coco, Format.coco_polygons)


_RESPONSE_FORMATS: dict[Format, ResponseFormat] = {
    Format.png: "b64_json",
    Format.rle: "rle",
    Format.polygons: "polygons",
    Format.coco: "rle",
    Format.coco_polygons: "polygons",
}


@app.command()
def segment(
    image: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE", help="An image, a folder of images that all get the same prompt, or - for standard input."
        ),
    ],
    point: Annotated[
        list[str] | None,
        typer.Option("--point", "-p", metavar="X,Y[,0]", help="A point on the object; X,Y,0 is a point outside it."),
    ] = None,
    box: Annotated[str | None, typer.Option(metavar="X0,Y0,X1,Y1", help="A box around the object.")] = None,
    mask_prompt: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A mask prompt for the object: a PNG of the image's size, 0 is background."),
    ] = None,
    objects: Annotated[
        list[str] | None,
        typer.Option("--object", metavar='"X,Y X,Y …"', help="A further object: its points and box. May be repeated."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="Segment everything in the image, without a prompt.")
    ] = False,
    points_per_side: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --everything: points of the grid along each side; more of them find smaller objects.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="The name of an object. May be repeated, for each object in order."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="File of the mask, or folder of masks; - is standard output. Default: mask.png, masks, coco.json.",
        ),
    ] = None,
    overlay: Annotated[
        str | None, typer.Option(metavar="PATH", help="File or folder for the image with the mask drawn over it.")
    ] = None,
    output_format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="png; JSON with RLE or polygons of each segment; a COCO file with RLE or polygons, one for a whole "
            "folder.",
        ),
    ] = Format.png,
    n: Annotated[
        int, typer.Option(min=1, max=3, help="Candidates of an ambiguous prompt, best first: mask.png, mask-2.png …")
    ] = 1,
    size: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Size of the mask. Default: the image's own.")
    ] = None,
    exif: Annotated[
        Literal["apply", "ignore"], typer.Option(help="Whether to apply the image's EXIF orientation.")
    ] = "apply",
    merge_iou: Annotated[
        float, typer.Option(help="Merge objects whose masks have at least this IoU; 1 turns merging off.")
    ] = MERGE_IOU,
    whole: Annotated[
        bool, typer.Option("--whole", help="Keep overlaps: each object's whole mask. Not with --format png.")
    ] = False,
    model: Annotated[str, typer.Option(help="Name of an installed model.")] = DEFAULT_MODEL,
    url: ServerUrl = None,
    key: ApiKey = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the server's answer.")] = 60.0,
) -> None:
    """Segment an image into one categorical mask: 0 is background, 1 the first object, 2 the second, …

    Coordinates are pixels from the top left corner of the image as displayed.
    All --point and --box options describe one object.

    For a folder, the mask of cat.jpg is cat.jpg.png, or in other formats cat.jpg.json.
    With --n 2 the second candidate is mask-2.png, or for a folder cat.jpg-2.png.
    With --format coco, the names of --label are the categories of one file. Tools that read no RLE, such as Label
    Studio, need coco-polygons.
    Missing folders are created.

      maskery segment cat.jpg --point 220,120 -o mask.png --overlay overlay.png

      maskery segment desk.jpg --point 450,600 --object "120,80 130,95 200,90,0"
    """
    if url is not None and not url.strip():
        raise UserError(
            "--url is empty: give the base URL of a server, such as http://127.0.0.1:8484, or leave out --url and "
            "unset AIR_BASE_URL to segment on this machine."
        )
    # A range of typer's would let "nan" through.
    if not 0 < timeout <= _DAY:
        raise UserError(f"--timeout takes a number of seconds above 0, at most {_DAY:,}.")
    if not 0 < merge_iou <= 1:
        raise UserError("--merge-iou takes a number above 0, at most 1.")
    if output_format is not Format.png and overlay:
        raise UserError("--overlay needs --format png.")
    if output_format is Format.png and whole:
        raise UserError(
            "--whole keeps overlaps, which one PNG cannot hold: add --format rle, polygons, coco or coco-polygons."
        )
    is_coco = output_format.is_coco
    if is_coco and n > 1:
        raise UserError("--format coco holds one mask of each object: leave out --n, or use --format rle.")
    if is_coco and size:
        raise UserError("--format coco holds masks of the image's own size: leave out --size, or use --format rle.")
    check_names(image, {"--mask-prompt": mask_prompt, "-o": output, "--overlay": overlay})
    source, start = Path(image), Path(mask_prompt) if mask_prompt else None
    if STANDARD == source == start:
        raise UserError("the image and --mask-prompt are both standard input: name a file for one of them.")
    suffix = ".png" if output_format is Format.png else ".json"
    default = "coco.json" if is_coco else "masks" if source.is_dir() else f"mask{suffix}"
    masks, overlays = Path(output or default), Path(overlay) if overlay else None
    if is_coco and source.is_dir():
        check_file("-o", masks, suffix, source, start)
    else:
        check_outputs(source, masks, overlays, suffix, n, start)
    if everything:
        given: dict[str, object] = {
            "--point": point,
            "--box": box,
            "--mask-prompt": start,
            "--object": objects,
            "--label": label,
        }
        given |= {"--whole": whole, "--n": n > 1}
        if wrong := next((option for option, value in given.items() if value), None):
            raise UserError(f"--everything finds the objects by itself: leave out {wrong}.")
        prompt = PromptOptions(AutomaticOptions(points_per_side), ())
    elif points_per_side:
        raise UserError("--points-per-side is the grid of --everything: add --everything, or leave it out.")
    else:
        prompt = read_prompt(point or [], box, start, objects or [], label or [])
    request = Request(
        model,
        prompt.prompt,
        Options(n, _read_size(size), not whole, merge_iou),
        exif,
        _RESPONSE_FORMATS[output_format],
    )
    opened = remote(request, url.strip(), key, timeout) if url else local(request)
    with ExitStack() as stack:
        try:
            segmenter = stack.enter_context(opened)
        except PromptError as error:
            raise UserError(prompt.explain(str(error))) from None
        task = _Task(segmenter, prompt, output_format, exif)
        if source.is_dir() and is_coco:
            task.segment_folder_to_coco(source, masks)
        elif source.is_dir():
            task.segment_folder(source, masks, overlays)
        else:
            lines = task.segment_file(source, masks, overlays)
            typer.echo("\n".join(lines), err=STANDARD in (masks, overlays))


@dataclass(frozen=True)
class _Task:
    """One request for every image."""

    segmenter: Segmenter
    prompt: PromptOptions
    format: Format
    exif: Exif

    def segment_file(self, path: Path, output: Path, overlay: Path | None) -> list[str]:
        """Segment one image and write its files. Returns lines for the user."""
        image = read_file(path)
        response = self._segment(image)
        lines = [_describe(each) for each in response.data[0].segments]
        files = self._files(path, response, output)
        for file, data in files.items():
            write_file(file, data)
            lines.append(f"mask: {file}")
        if overlay:
            values = np.asarray(Image.open(io.BytesIO(files[output])))
            drawn = io.BytesIO()
            Image.fromarray(draw_overlay(open_image(image, self.exif, ACCEPTED).pixels, values)).save(drawn, "PNG")
            write_file(overlay, drawn.getvalue())
            lines.append(f"overlay: {overlay}")
        return lines

    def segment_folder(self, folder: Path, output: Path, overlays: Path | None) -> None:
        """Segment every image of a folder and write its files."""

        def write(path: Path) -> None:
            suffix = ".png" if self.format is Format.png else ".json"
            overlay = overlays / f"{path.name}.png" if overlays else None
            self.segment_file(path, output / f"{path.name}{suffix}", overlay)

        _for_each(folder, write, lambda _: f"masks in {output}")

    def segment_folder_to_coco(self, folder: Path, output: Path) -> None:
        """Segment every image of a folder and write one COCO file."""

        def read(path: Path) -> tuple[str, MaskSchema]:
            return path.name, self._segment(read_file(path)).data[0]

        def finish(masks: list[tuple[str, MaskSchema]]) -> str:
            write_file(output, to_coco(masks))
            return f"masks in {output}"

        _for_each(folder, read, finish, to_error=output == STANDARD)

    def _segment(self, image: bytes) -> SegmentationResponse:
        try:
            return self.segmenter(image)
        except UserError as error:
            raise UserError(self.prompt.explain(str(error))) from None

    def _files(self, image: Path, response: SegmentationResponse, output: Path) -> dict[Path, bytes]:
        if self.format.is_coco:
            return {output: to_coco([("image" if image == STANDARD else image.name, response.data[0])])}
        if self.format is not Format.png:
            return {output: json.dumps([mask.model_dump() for mask in response.data]).encode()}
        return {
            candidate_path(output, number): base64.b64decode(mask.b64_json or "")
            for number, mask in enumerate(response.data, start=1)
        }


def _for_each(
    folder: Path, work: Callable[[Path], Result], finish: Callable[[list[Result]], str], to_error: bool = False
) -> None:
    """Do work on every image of a folder, several at a time. A failed image does not stop the others.

    Args:
        finish: called with the results, in the order of the names; what was written, for the user.
        to_error: print on standard error.

    Raises:
        UserError: some failed.
    """
    images, others = find_images(folder)
    if others:
        names = ", ".join(path.name for path in others[:_MAX_NAMES])
        more = f" and {len(others) - _MAX_NAMES:,} more" if len(others) > _MAX_NAMES else ""
        typer.echo(f"skipped, not an image format that is read: {names}{more}", err=True)

    def attempt(path: Path) -> tuple[list[Result], str | None]:
        try:
            return [work(path)], None
        except UserError as error:
            return [], f"{path}: {error}"

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    with ThreadPoolExecutor(processors()) as pool, Progress(console=console) as progress:
        outcomes = list(progress.track(pool.map(attempt, images), total=len(images), description="segmenting"))
    done = [result for results, _ in outcomes for result in results]
    failures = [failure for _, failure in outcomes if failure]
    typer.echo(f"{len(done)} of {len(images)} images segmented, {finish(done)}", err=to_error)
    if failures:
        raise UserError("\n".join([f"{len(failures)} failed:", *failures]))


def _read_size(text: str | None) -> Size | None:
    if text is None:
        return None
    if not re.fullmatch("[1-9][0-9]{0,4}x[1-9][0-9]{0,4}", text):
        raise UserError(f"--size {text!r}: write WIDTHxHEIGHT in pixels, such as 640x480; a side is at most 99,999.")
    width, height = map(int, text.split("x"))
    return Size(width, height)


def _describe(segment: SegmentSchema) -> str:
    name = f"object {segment.value}{f' ({segment.label})' if segment.label else ''}"
    if not segment.bbox:
        return f"{name}: empty, score {segment.score:.2f}"
    x, y, width, height = segment.bbox
    size = f"{segment.area:,} pixels, {width} x {height} at {x},{y}"
    return f"{name}: score {segment.score:.2f}, {size}"
