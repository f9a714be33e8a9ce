"""`maskery mcp`: segmentation as tools for assistants, by the Model Context Protocol over standard input and output."""

import base64
import re
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from maskery import __version__
from maskery.api.model_settings import make_registry
from maskery.api.schemas.segmentation import ModelListSchema, SegmentationResponse
from maskery.cli.connection import ApiKey, ServerUrl, connect
from maskery.cli.files import read_file
from maskery.cli.overlay import ACCEPTED, draw_overlay
from maskery.cli.segmenters import Request, local, remote
from maskery.engine import Prompt
from maskery.errors import UserError
from maskery.models import DEFAULT_MODEL
from maskery.segmentation import AutomaticOptions, Options, Size, open_image, rle
from maskery.settings import Settings

app = typer.Typer(add_completion=False)

_TIMEOUT = 300.0

# Longer side of the overlay, which the assistant looks at.
_SHOWN_SIDE = 1024

# Fields of the API in a message, by the object's index.
_FIELD = re.compile(r"\b(segment_prompt|point_labels|boxes|labels)(?=\[)")

_HOW = (
    "Segments objects in images. Coordinates are pixels from the top left corner of the image as displayed. A box "
    "around an object is usually the best prompt; points on it, or outside it, refine the mask."
)


class ObjectArgument(BaseModel):
    """The prompt of one object."""

    model_config = ConfigDict(extra="forbid")

    points: list[tuple[float, float]] = Field(default=[], description="Points [x, y] on the object.")
    points_outside: list[tuple[float, float]] = Field(default=[], description="Points [x, y] that are not on it.")
    box: tuple[float, float, float, float] | None = Field(
        default=None, description="A box [x0, y0, x1, y1] around the object."
    )
    label: str | None = Field(default=None, description="The object's name, which comes back with its mask.")


@app.command()
def mcp(
    root: Annotated[
        Path, typer.Option(metavar="DIR", help="Only images in this folder and its subfolders are read.")
    ] = Path(),
    model: Annotated[
        str, typer.Option(help="The model that is used unless the assistant names another.")
    ] = DEFAULT_MODEL,
    url: ServerUrl = None,
    key: ApiKey = None,
) -> None:
    """Offer segmentation to assistants, by the Model Context Protocol.

    The tools are segment_image and list_models, over standard input and output.
    The assistant starts this command itself. It needs the extra maskery[mcp].

      maskery mcp --root ~/images
    """
    try:
        from mcp.server.mcpserver import MCPServer  # noqa: PLC0415 - an extra
        from mcp.server.mcpserver.exceptions import ToolError  # noqa: PLC0415
    except ImportError:
        raise UserError("maskery mcp needs the package mcp: pip install 'maskery[mcp]'.") from None
    tools = Tools(root, model, url, key)
    server = MCPServer("maskery", instructions=_HOW, version=__version__, log_level="WARNING")

    @server.tool(structured_output=False)
    def segment_image(
        image: Annotated[str, Field(description="Path of an image file, absolute or below the served folder.")],
        objects: Annotated[
            list[ObjectArgument] | None, Field(description="The objects to segment, each by points, a box or both.")
        ] = None,
        everything: Annotated[bool, Field(description="Segment everything in the image, in place of objects.")] = False,
        model: Annotated[str | None, Field(description="Name of a model, as list_models has it.")] = None,
    ) -> Any:
        """Segment objects in an image. Returns the image with the objects drawn over it, the categorical mask (a PNG in
        which the first object has value 1, the second 2, and so on), and for each object its score (0 to 1, the
        expected IoU), area in pixels, box [x, y, width, height] and COCO RLE.
        """
        try:
            return tools.segment(image, objects or [], everything, model)
        except UserError as error:
            raise ToolError(_FIELD.sub("objects", str(error))) from None

    @server.tool()
    def list_models() -> list[str]:
        """The names of the models that segment_image accepts."""
        try:
            return tools.models()
        except UserError as error:
            raise ToolError(str(error)) from None

    server.run("stdio")


class Tools:
    """What the tools do; arguments as of the command. Methods raise UserError."""

    def __init__(self, root: Path, model: str, url: str | None, key: str | None) -> None:
        self._root = root.expanduser().resolve()
        if not self._root.is_dir():
            raise UserError(f"--root {root} is not a folder.")
        self._model = model
        self._url, self._key = (url.strip() if url and url.strip() else None), key
        self._registry = None if self._url else make_registry(Settings.load())

    def models(self) -> list[str]:
        if self._registry:
            return self._registry.installed()
        with connect(self._url or "", self._key, _TIMEOUT) as connection:
            return [each.id for each in connection.get("/v1/models", ModelListSchema).data]

    def segment(self, image: str, objects: list[ObjectArgument], everything: bool, model: str | None) -> Any:
        """A CallToolResult: a text, the overlay, the mask; and the segments with their RLE as structured content."""
        data = read_file(self._path(image))
        request = Request(model or self._model, Options(), "apply", "b64_json")
        opened = remote(request, self._url, self._key, _TIMEOUT) if self._url else local(request, self._registry)
        with opened as segmenter:
            return _result(data, segmenter(data, _prompt(objects, everything)))

    def _path(self, image: str) -> Path:
        path = (self._root / Path(image).expanduser()).resolve()
        if not path.is_relative_to(self._root):
            raise UserError(f"{image} is outside {self._root}, the folder whose images may be read (--root).")
        return path


def _prompt(objects: list[ObjectArgument], everything: bool) -> Prompt | AutomaticOptions:
    if everything and objects:
        raise UserError("everything finds the objects by itself: leave out objects.")
    if everything:
        return AutomaticOptions()
    if not objects:
        raise UserError("give objects, each with points or a box, or set everything to true.")
    return Prompt(
        segment_prompt=[[*map(list, each.points), *map(list, each.points_outside)] for each in objects],
        point_labels=[[1] * len(each.points) + [0] * len(each.points_outside) for each in objects],
        boxes=[list(each.box) if each.box else None for each in objects],
        labels=[each.label for each in objects],
    )


def _result(data: bytes, response: SegmentationResponse) -> Any:
    from mcp_types import CallToolResult, ImageContent, TextContent  # noqa: PLC0415 - an extra

    mask = response.data[0]
    png = base64.b64decode(mask.b64_json or "")
    values: NDArray[Any] = np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED))
    segments: list[dict[str, Any]] = []
    for each in mask.segments:
        x, y, width, height = each.bbox or (0, 0, 0, 0)
        crop = values[y : y + height, x : x + width] == each.value
        counts = rle.encode(crop, (x, y), Size(mask.width, mask.height))
        segments.append({**each.model_dump(exclude={"rle", "polygons"}), "rle": dict(counts)})
    lines = [
        f"{each.value}: {each.label or 'object'}, score {each.score:.2f}, {each.area} pixels, box {each.bbox}"
        for each in mask.segments
    ]
    images = (_overlay(data, values), base64.b64encode(png).decode())
    return CallToolResult(
        content=[
            TextContent(type="text", text="\n".join(lines) or "No object was found."),
            *(ImageContent(type="image", data=each, mime_type="image/png") for each in images),
        ],
        structured_content={"width": mask.width, "height": mask.height, "segments": segments},
    )


def _overlay(data: bytes, values: NDArray[Any]) -> str:
    """The image with the mask drawn over it, at most 1,024 pixels a side: a PNG in base64."""
    pixels = open_image(data, limits=ACCEPTED).pixels
    shrink = min(1.0, _SHOWN_SIDE / max(pixels.shape[:2]))
    size = [max(1, round(side * shrink)) for side in pixels.shape[1::-1]]
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    _, png = cv2.imencode(".png", draw_overlay(small, values)[:, :, ::-1])
    return base64.b64encode(png.tobytes()).decode()
