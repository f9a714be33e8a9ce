"""`maskery segment`: a picture, or a folder of them, without writing a program."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from maskery.cli import overlay
from maskery.cli.errors import CommandError
from maskery.engine import Engine, Job, Prompt
from maskery.models import DEFAULT_MODEL, Registry
from maskery.segmentation import SegmentationError, open_picture, to_png
from maskery.settings import Settings

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True, eq=False)
class _Answer:
    """A mask as PNG and array, and a line for each of its segments."""

    png: bytes
    values: NDArray[np.integer[Any]]
    lines: list[str]


_Segmenter = Callable[[bytes], _Answer]


def segment(
    image: Annotated[Path, typer.Argument(help="A picture, or a folder of pictures that get the same prompt.")],
    point: Annotated[
        list[str] | None,
        typer.Option("--point", "-p", metavar="X,Y[,0]", help="A point on the object; X,Y,0 is one that is not on it."),
    ] = None,
    objects: Annotated[
        list[str] | None,
        typer.Option("--object", metavar='"X,Y X,Y …"', help="One more object, by its points. May be repeated."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The mask's PNG, or for a folder the folder of masks.")
    ] = None,
    overlay_path: Annotated[
        Path | None, typer.Option("--overlay", help="Also the picture with the mask drawn over it (or a folder).")
    ] = None,
    model: Annotated[str, typer.Option(help="Name of an installed model.")] = DEFAULT_MODEL,
    url: Annotated[str | None, typer.Option(help="Ask a server at this address; else it is done here.")] = None,
    key: Annotated[str | None, typer.Option(envvar="MASKERY_API_KEY", help="The server's API key.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for a server's answer.")] = 60.0,
) -> None:
    """Segment a picture: one mask in which every object has its own value, 1, 2, …

    Points are in pixels from the top left corner of the picture as one sees it. The points of --point are of one
    object.

      maskery segment cat.jpg --point 220,120 -o mask.png --overlay overlay.png
      maskery segment desk.jpg --point 450,600 --object "120,80 130,95 200,90,0"
    """
    prompt = _read_prompt(point or [], objects or [])
    segmenter = _remote(url, key, model, prompt, timeout) if url else _local(model, prompt)
    if image.is_dir():
        _segment_folder(image, output or Path("masks"), overlay_path, segmenter)
    else:
        answer = _segment_file(image, output or Path("mask.png"), overlay_path, segmenter)
        typer.echo("\n".join([*answer.lines, f"mask: {output or 'mask.png'}"]))
        if overlay_path:
            typer.echo(f"overlay: {overlay_path}")


def _read_prompt(points: list[str], objects: list[str]) -> Prompt:
    texts = ([points] if points else []) + [text.split() for text in objects]
    if not texts or not all(texts):
        raise CommandError("say what to segment: --point X,Y, or --object with its points.")
    groups = [[_read_point(text) for text in group] for group in texts]
    return Prompt(
        segment_prompt=[[[x, y] for x, y, _ in group] for group in groups],
        point_labels=[[label for _, _, label in group] for group in groups],
    )


def _read_point(text: str) -> tuple[float, float, int]:
    numbers = text.split(",")
    try:
        x, y = float(numbers[0]), float(numbers[1])
        label = int(numbers[2]) if len(numbers) > 2 else 1
    except (ValueError, IndexError):
        raise CommandError(f"{text!r} is not a point: write X,Y, or X,Y,0 for one that is not on the object.") from None
    return x, y, label


def _local(model: str, prompt: Prompt) -> _Segmenter:
    settings = Settings.load()
    engine = Engine(Registry(settings.aliases), settings.image_limits, settings.prompt_limits)
    engine.models.get(model)

    def run(image: bytes) -> _Answer:
        mask = engine.segment(Job(model, image, prompt)).masks[0]
        assert mask.values is not None  # noqa: S101 - this job is composed
        lines = [_line(each.value, each.score, each.area, each.bbox) for each in mask.segments]
        return _Answer(to_png(mask.values), mask.values, lines)

    return run


def _remote(url: str, key: str | None, model: str, prompt: Prompt, timeout: float) -> _Segmenter:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    client = httpx.Client(headers=headers, timeout=timeout)
    fields = {"model": model, "segment_prompt": prompt.segment_prompt, "point_labels": prompt.point_labels}

    def run(image: bytes) -> _Answer:
        body = {**fields, "image_prompt": base64.b64encode(image).decode("ascii")}
        try:
            response = client.post(f"{url.rstrip('/')}/v1/images/segmentations", json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CommandError(f"no answer from {url}: {error or type(error).__name__}.") from None
        answer = _json_of(response, url)
        mask = answer["data"][0]
        png = base64.b64decode(mask["b64_json"])
        lines = [_line(each["value"], each["score"], each["area"], each["bbox"]) for each in mask["segments"]]
        return _Answer(png, np.asarray(Image.open(io.BytesIO(png))), lines)

    return run


def _json_of(response: httpx.Response, url: str) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = response.json()
        if response.is_success:
            return answer
        sentence = answer["error"]["message"]
    except (ValueError, KeyError, TypeError):
        raise CommandError(f"{url} is not a segmentation server: status {response.status_code}.") from None
    raise CommandError(sentence)


def _segment_file(path: Path, output: Path, overlay_path: Path | None, segmenter: _Segmenter) -> _Answer:
    try:
        image = path.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}.") from None
    answer = segmenter(image)
    _write(output, answer.png)
    if overlay_path:
        drawn = overlay.draw(open_picture(image).pixels, answer.values)
        file = io.BytesIO()
        Image.fromarray(drawn).save(file, "PNG")
        _write(overlay_path, file.getvalue())
    return answer


def _segment_folder(folder: Path, output: Path, overlays: Path | None, segmenter: _Segmenter) -> None:
    pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if not pictures:
        raise CommandError(f"{folder} holds no pictures.")
    failures = []
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    with Progress(console=console) as progress:
        for path in progress.track(pictures, description="segmenting"):
            name = f"{path.name}.png"
            try:
                _segment_file(path, output / name, overlays / name if overlays else None, segmenter)
            except (SegmentationError, CommandError) as error:
                failures.append(f"{path}: {error}")
    typer.echo(f"{len(pictures) - len(failures)} of {len(pictures)} pictures segmented, masks in {output}")
    if failures:
        raise CommandError("\n".join([f"{len(failures)} failed:", *failures]))


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}.") from None


def _line(value: int, score: float, area: int, bbox: Any) -> str:
    if not area:
        return f"object {value}: empty, score {score:.2f}"
    x, y, width, height = bbox
    return f"object {value}: score {score:.2f}, {area:,} pixels, {width} x {height} at {x},{y}"
