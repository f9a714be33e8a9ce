"""`maskery mcp`, by the official client over standard input and output."""

import base64
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import cv2
import numpy as np
import pytest
from mcp import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client

from maskery.segmentation import Size, rle

GRABCUT = "maskery/grabcut"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With photo.png: an orange square on blue."""
    pixels = np.full((60, 90, 3), (160, 70, 40), np.uint8)
    pixels[15:45, 20:60] = (30, 120, 220)
    cv2.imwrite(str(tmp_path / "photo.png"), pixels)
    return tmp_path


@asynccontextmanager
async def session(folder: Path) -> AsyncIterator[ClientSession]:
    home = {"MASKERY_HOME": str(folder / "home")}
    command = ["-m", "maskery", "mcp", "--root", str(folder), "--model", GRABCUT]
    server = StdioServerParameters(command=sys.executable, args=command, env={**os.environ, **home})
    async with stdio_client(server) as streams, ClientSession(*streams) as opened:
        await opened.initialize()
        yield opened


def test_an_assistant_segments_an_image(folder: Path) -> None:
    async def use() -> tuple[list[str], Any, Any]:
        async with session(folder) as opened:
            tools = await opened.list_tools()
            models = await opened.call_tool("list_models", {})
            objects = [{"box": [18, 12, 63, 48], "points": [[40, 30]], "label": "square"}]
            return (
                [each.name for each in tools.tools],
                models,
                await opened.call_tool("segment_image", {"image": "photo.png", "objects": objects}),
            )

    names, models, answer = anyio.run(use)
    assert names == ["segment_image", "list_models"]
    assert GRABCUT in models.structured_content["result"]
    text, overlay, mask = answer.content
    assert "square, score" in text.text
    values = cv2.imdecode(np.frombuffer(base64.b64decode(mask.data), np.uint8), cv2.IMREAD_UNCHANGED)
    [segment] = answer.structured_content["segments"]
    assert segment["area"] == np.count_nonzero(values) > 1000
    assert np.array_equal(rle.decode(segment["rle"]["counts"], Size(90, 60)), values == 1)
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(overlay.data), np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert shown.shape == (60, 90, 3)


def test_mistakes_are_told_to_the_assistant(folder: Path) -> None:
    calls: list[tuple[dict[str, Any], str]] = [
        ({"image": "../other.png", "everything": True}, "is outside"),
        ({"image": "photo.png"}, "give objects"),
        (
            {"image": "photo.png", "objects": [{"points": [[500, 10]]}]},
            "objects[0][0] is (500, 10), outside the image, which is 90 wide",
        ),
        ({"image": "photo.png", "everything": True}, "one object at a time"),
        ({"image": "none.png", "objects": [{"points": [[1, 1]]}]}, "cannot read"),
        ({"image": "photo.png", "objects": [{"points": [[1, 1]]}], "model": "a/b"}, "Unknown model"),
    ]

    async def use() -> list[Any]:
        async with session(folder) as opened:
            return [await opened.call_tool("segment_image", arguments) for arguments, _ in calls]

    for answer, (_, message) in zip(anyio.run(use), calls, strict=True):
        assert answer.is_error
        assert message in answer.content[0].text, json.dumps(answer.content[0].text)
