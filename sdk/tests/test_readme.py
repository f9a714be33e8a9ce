"""Every Python block of the README runs, each by itself, and what it says of options and errors is complete."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import air
from air import errors
from air.images import Images

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)

VALUES = np.zeros((300, 451), np.uint8)
VALUES[80:140, 120:200] = 1
VALUES[90:150, 270:330] = 2


@pytest.fixture
def api(stub, make_answer, to_png64):
    """A server that knows the calls of the README, and one image."""
    segments = [{"value": value, "prompts": [value - 1], "area": 1} for value in (1, 2)]

    def behave(connection):
        request = connection.received
        if request.path == "/v1/images":
            prepared = {"id": "img_1", "width": 451, "height": 300, "expires_in": 600.0}
            return stub.reply(201, prepared)(connection)
        if request.method == "DELETE":
            return stub.reply(204, "")(connection)
        if request.path == "/v1/models":
            return stub.reply(200, {"object": "list", "data": [{"id": "maskery/nano"}]})(connection)
        if request.path == "/authentication/validate":
            return stub.reply(200, {"organization_id": "acme"})(connection)
        if "9999" in str(request.json["segment_prompt"]):
            return stub.error(422, message="outside")(connection)
        return stub.reply(200, make_answer(b64_json=to_png64(VALUES), segments=segments))(connection)

    stub.plays(behave)
    return stub


@pytest.mark.parametrize("block", BLOCKS)
def test_the_block_runs(block, api, tmp_path, monkeypatch, key):
    monkeypatch.setenv("AIR_BASE_URL", api.url)
    monkeypatch.setenv("AIR_API_KEY", key)
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "examples/photos"
    photos.mkdir(parents=True)
    Image.new("RGB", (451, 300)).save(photos / "chelsea.png")
    namespace = {}
    exec(compile(block, "README.md", "exec"), namespace)
    namespace["client"].close()
    for written in re.findall(r'save\(f?"([^"]*)"\)', block):
        assert (tmp_path / written.replace("{path.stem}", "chelsea")).stat().st_size > 0
    assert api.requests


def test_the_readme_names_every_option():
    options = [p.name for p in inspect.signature(Images.segment).parameters.values() if p.kind is p.KEYWORD_ONLY]
    assert re.findall(r"^\| `(\w+)` \|", README.partition("## What comes back")[0], re.MULTILINE) == options


def test_the_readme_names_every_error():
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, air.AirError)]
    for kind in kinds:
        assert f"{kind.__name__}" in README.partition("## Errors")[2]
