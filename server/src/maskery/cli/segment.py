"""`maskery segment`: segment an image, or every image in a folder."""

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from PIL import Image

from maskery.api.schemas.segmentation import MaskSchema, ResponseFormat, SegmentationResponse, SegmentSchema
from maskery.cli.coco import to_coco
from maskery.cli.connection import ApiKey, ServerUnavailableError, ServerUrl
from maskery.cli.files import (
    STANDARD,
    candidate_path,
    check_file,
    check_names,
    check_outputs,
    list_folder,
    read_file,
    write_file,
)
from maskery.cli.folders import for_each
from maskery.cli.journal import Journal, key_of
from maskery.cli.overlay import ACCEPTED, draw_overlay
from maskery.cli.prompt_files import read_prompts
from maskery.cli.prompts import PromptOptions, place, read_prompt
from maskery.cli.segmenters import Request, Segmenter, local, remote, to_fields
from maskery.engine import Prompt
from maskery.errors import UserError
from maskery.models import DEFAULT_MODEL
from maskery.segmentation import (
    MAX_TOLERANCE,
    MERGE_IOU,
    AutomaticOptions,
    ImageError,
    ImageFile,
    Options,
    PromptError,
    Size,
    open_image,
)

app = typer.Typer(add_completion=False)

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
        typer.Argument(metavar="IMAGE", help="An image, a folder of images, or - for standard input."),
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
    prompts: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The prompts of a folder's images: CSV, JSON lines, or the boxes of a COCO file.",
        ),
    ] = None,
    relative: Annotated[
        bool, typer.Option("--relative", help="Coordinates are fractions of the image's width and height, 0 to 1.")
    ] = False,
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
    polygon_tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="PIXELS",
            help="How far simplified polygons may lie from the mask's edges; 0 is exact. Default: 0, and 1 with "
            "--format coco-polygons.",
        ),
    ] = None,
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

    --prompts gives each image of a folder its own objects; its boxes are clipped to the image. A CSV file has the
    columns image, x, y, positive, x0, y0, x1, y1, label, object; a line of JSON lines is
    {"image": "cat.jpg", "objects": [{"points": [[220, 120]], "box": null, "label": "cat"}]}.

    An interrupted run of a folder is continued by the same command. The exit status is 0, 2 if an image failed, or 130
    after an interruption.

      maskery segment cat.jpg --point 220,120 -o mask.png --overlay overlay.png

      maskery segment desk.jpg --point 450,600 --object "120,80 130,95 200,90,0"

      maskery segment photos --prompts boxes.csv --format coco -o coco.json
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
    is_polygons = _RESPONSE_FORMATS[output_format] == "polygons"
    tolerance = (1.0 if is_coco else 0.0) if polygon_tolerance is None else polygon_tolerance
    if polygon_tolerance is not None and not (is_polygons and 0 <= tolerance <= MAX_TOLERANCE):
        raise UserError(
            f"--polygon-tolerance takes pixels, 0 to {MAX_TOLERANCE:g}, with --format polygons or coco-polygons."
        )
    check_names(image, {"--mask-prompt": mask_prompt, "--prompts": prompts, "-o": output, "--overlay": overlay})
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
    given: dict[str, object] = {
        "--point": point,
        "--box": box,
        "--mask-prompt": start,
        "--object": objects,
        "--label": label,
    }
    own: dict[str, PromptOptions] | None = None
    if everything:
        given |= {"--prompts": prompts, "--relative": relative, "--whole": whole, "--n": n > 1}
        if wrong := next((option for option, value in given.items() if value), None):
            raise UserError(f"--everything finds the objects by itself: leave out {wrong}.")
        prompt = PromptOptions(AutomaticOptions(points_per_side), ())
    elif prompts:
        if not source.is_dir():
            raise UserError(f"--prompts has the prompts of a folder's images, but {image} is not a folder.")
        given |= {"--points-per-side": points_per_side}
        if wrong := next((option for option, value in given.items() if value), None):
            raise UserError(f"--prompts has the prompts of all images: leave out {wrong}.")
        own, prompt = read_prompts(Path(prompts)), PromptOptions(Prompt([]), ())
    elif points_per_side:
        raise UserError("--points-per-side is the grid of --everything: add --everything, or leave it out.")
    else:
        prompt = read_prompt(point or [], box, start, objects or [], label or [])
    request = Request(
        model,
        Options(n, _read_size(size), not whole, merge_iou),
        exif,
        _RESPONSE_FORMATS[output_format],
        tolerance if is_polygons else 0.0,
    )
    opened = remote(request, url.strip(), key, timeout) if url else local(request)
    with ExitStack() as stack:
        try:
            segmenter = stack.enter_context(opened)
        except PromptError as error:
            raise UserError(prompt.explain(str(error))) from None
        task = _Task(segmenter, request, output_format, prompt, own, relative)
        if source.is_dir() and is_coco:
            task.segment_folder_to_coco(source, masks)
        elif source.is_dir():
            task.segment_folder(source, masks, overlays)
        else:
            lines = task.segment_file(source, masks, overlays)
            typer.echo("\n".join(lines), err=STANDARD in (masks, overlays))


@dataclass(frozen=True)
class _Task:
    """One request for every image.

    Attributes:
        prompts: for each image its own, by the name of its file; None: `prompt` for all of them.
        relative: whether coordinates are fractions of the image's sides.
    """

    segmenter: Segmenter
    request: Request
    format: Format
    prompt: PromptOptions
    prompts: Mapping[str, PromptOptions] | None
    relative: bool

    @property
    def suffix(self) -> str:
        return ".png" if self.format is Format.png else ".json"

    def segment_file(self, path: Path, output: Path, overlay: Path | None) -> list[str]:
        """Segment one image and write its files. Returns lines for the user."""
        image = read_file(path)
        try:
            response = self._segment(image, self.prompt)
        except ImageError as error:
            raise UserError(f"{'standard input' if path == STANDARD else path}: {error}") from None
        return self._write(path, image, response, output, overlay)

    def segment_folder(self, folder: Path, output: Path, overlays: Path | None) -> None:
        """Segment the images of a folder and write their files."""
        journal = Journal(output / ".progress.jsonl")

        def write(name: str) -> tuple[None, bool]:
            image, prompt, key = self._read(folder, name)
            files = [output / f"{name}{self.suffix}", *([overlays / f"{name}.png"] if overlays else [])]
            if journal.find(key) and all(map(Path.exists, files)):
                return None, True
            self._write(Path(name), image, self._segment(image, prompt), files[0], files[1] if overlays else None)
            journal.add(key, True)
            return None, False

        for_each(self._names(folder), write, lambda _: f"masks in {output}", journal)

    def segment_folder_to_coco(self, folder: Path, output: Path) -> None:
        """Segment the images of a folder and write one COCO file."""
        journal = Journal(output.with_name(f"{output.name}.progress.jsonl") if output != STANDARD else None)

        def read(name: str) -> tuple[tuple[str, MaskSchema], bool]:
            image, prompt, key = self._read(folder, name)
            if done := journal.find(key):
                return (name, MaskSchema.model_validate(done)), True
            mask = self._segment(image, prompt).data[0]
            journal.add(key, mask.model_dump())
            return (name, mask), False

        def finish(masks: list[tuple[str, MaskSchema]]) -> str:
            write_file(output, to_coco(masks))
            return f"masks in {output}"

        for_each(self._names(folder), read, finish, journal, to_error=output == STANDARD)

    def _names(self, folder: Path) -> list[str]:
        """The images to segment, as paths below the folder. What is left out is printed."""
        content = list_folder(folder)
        if self.prompts is not None:
            _report("skipped, no prompt", [path.name for path in content.images if path.name not in self.prompts])
            return list(self.prompts)
        names = [path.name for path in content.need_images()]
        _report("skipped, not an image format that is read", [path.name for path in content.others])
        _report("skipped, folders in the folder are not read", [path.name for path in content.folders])
        return names

    def _read(self, folder: Path, name: str) -> tuple[bytes, PromptOptions, str]:
        """The bytes of an image, its prompt, and the key of both in the journal."""
        image = read_file(folder / name)
        prompt = self.prompts[name] if self.prompts else self.prompt
        asked = [to_fields(self.request, prompt.prompt), self.relative, self.format]
        return image, prompt, key_of(image, asked)

    def _segment(self, image: bytes, prompt: PromptOptions) -> SegmentationResponse:
        try:
            asked = prompt.prompt
            if isinstance(asked, Prompt) and (self.prompts or self.relative):
                asked = place(asked, ImageFile(image, self.request.exif, ACCEPTED).size, self.relative)
            return self.segmenter(image, asked)
        except (ServerUnavailableError, ImageError):
            raise
        except UserError as error:
            raise UserError(prompt.explain(str(error))) from None

    def _write(
        self, name: Path, image: bytes, response: SegmentationResponse, output: Path, overlay: Path | None
    ) -> list[str]:
        """Write the files of an image. Returns lines for the user."""
        lines = [_describe(each) for each in response.data[0].segments]
        files = self._files(name, response, output)
        for file, data in files.items():
            write_file(file, data)
            lines.append(f"mask: {file}")
        if overlay:
            values = np.asarray(Image.open(io.BytesIO(files[output])))
            drawn = io.BytesIO()
            pixels = open_image(image, self.request.exif, ACCEPTED).pixels
            Image.fromarray(draw_overlay(pixels, values)).save(drawn, "PNG")
            write_file(overlay, drawn.getvalue())
            lines.append(f"overlay: {overlay}")
        return lines

    def _files(self, image: Path, response: SegmentationResponse, output: Path) -> dict[Path, bytes]:
        if self.format.is_coco:
            return {output: to_coco([("image" if image == STANDARD else image.name, response.data[0])])}
        if self.format is not Format.png:
            return {output: json.dumps([mask.model_dump() for mask in response.data]).encode()}
        return {
            candidate_path(output, number): base64.b64decode(mask.b64_json or "")
            for number, mask in enumerate(response.data, start=1)
        }


def _report(reason: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - _MAX_NAMES:,} more" if len(names) > _MAX_NAMES else ""
        typer.echo(f"{reason}: {', '.join(names[:_MAX_NAMES])}{more}", err=True)


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
