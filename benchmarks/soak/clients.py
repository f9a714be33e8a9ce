"""Concurrent clients that compare every mask with the expected one."""

import base64
import io
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.soak.clicks import Click, iou, points
from benchmarks.soak.server import Server
from maskery.segmentation import Mask

# 16-bit arithmetic depends on the number of objects in a call.
_MAX_DIFFERENCE = 0.01
_MIN_IOU = 0.999

# Attempts to prepare an image that is evicted before the click on it.
_ATTEMPTS = 5


class RequestFailed(Exception):  # noqa: N818
    """The server answered with an error."""


@dataclass
class Responses:
    """The responses so far, compared with the expected masks.

    Attributes:
        counts: of responses to images sent as "bytes" and as "id".
        prepared: number of times that an image was prepared.
        lowest_iou: of a mask and the expected one.
        largest_difference: of a score and the expected one.
        wrong: descriptions of wrong masks.
    """

    counts: Counter[str] = field(default_factory=Counter)
    prepared: int = 0
    lowest_iou: float = 1.0
    largest_difference: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Clients:
    """Threads that send requests to one server.

    Args:
        model: name of the model.
        images: files by number.
        expected: the expected mask, by image and prompt.
        clients: number of requests at the same time.
    """

    def __init__(
        self, server: Server, model: str, images: Sequence[bytes], expected: Callable[[int, int], Mask], clients: int
    ) -> None:
        self._http = httpx.Client(
            base_url=server.url,
            headers={"Authorization": f"Bearer {server.key}"},
            timeout=120,
            trust_env=False,
            limits=httpx.Limits(max_connections=clients),
        )
        self._pool = ThreadPoolExecutor(clients)
        self._model = model
        self._images = images
        self._expected = expected
        self._ids: dict[int, str] = {}
        self.responses = Responses()

    def run(self, clicks: Sequence[Click]) -> None:
        """Send requests and compare the masks.

        Raises:
            RequestFailed: the server answered with an error.
        """
        for click, response in zip(clicks, self._pool.map(self._send_click, clicks), strict=True):
            self._compare(click, response)

    def metrics(self) -> dict[str, float]:
        """The server's metrics without labels, by name."""
        lines = (line.split() for line in self._http.get("/metrics").raise_for_status().text.splitlines())
        return {fields[0]: float(fields[1]) for fields in lines if len(fields) == 2 and "{" not in fields[0]}

    def close(self) -> None:
        self._pool.shutdown()
        self._http.close()

    def _send_click(self, click: Click) -> Any:
        body = {"model": self._model, "segment_prompt": points(click)}
        if not click.by_id:
            return self._post({**body, "image_prompt": self._base64(click.image)})
        for _ in range(_ATTEMPTS):
            if click.image not in self._ids:
                self._ids[click.image] = self._prepare(click.image)
            response = self._send({**body, "image_prompt": f"id:{self._ids[click.image]}"})
            if response.is_success:
                return response.json()
            if response.status_code != 404:
                raise RequestFailed(f"{click}: {response.status_code} {response.text}")
            self._ids.pop(click.image, None)
        raise RequestFailed(f"{click}: prepared {_ATTEMPTS} times and evicted each time")

    def _prepare(self, number: int) -> str:
        body = {"model": self._model, "image_prompt": self._base64(number)}
        response = self._http.post("/v1/images", json=body)
        if response.status_code != 201:
            raise RequestFailed(f"cannot prepare image {number}: {response.status_code} {response.text}")
        self.responses.prepared += 1
        return str(response.json()["id"])

    def _post(self, body: dict[str, Any]) -> Any:
        response = self._send(body)
        if not response.is_success:
            raise RequestFailed(f"{response.status_code} {response.text}")
        return response.json()

    def _send(self, body: dict[str, Any]) -> httpx.Response:
        return self._http.post("/v1/images/segmentations", json=body)

    def _base64(self, number: int) -> str:
        return base64.b64encode(self._images[number]).decode()

    def _compare(self, click: Click, response: Any) -> None:
        responses = self.responses
        responses.counts["id" if click.by_id else "bytes"] += 1
        alike, difference = compare(response, self._expected(click.image, click.prompt))
        responses.lowest_iou = min(responses.lowest_iou, alike)
        responses.largest_difference = max(responses.largest_difference, difference)
        if alike < _MIN_IOU or difference > _MAX_DIFFERENCE:
            responses.wrong.append(f"{click}: IoU {alike:.4f}, scores differ by {difference:.4f}")


def compare(response: Any, expected: Mask) -> tuple[float, float]:
    """IoU of a response's mask with the expected one, and the largest difference of their segments' scores."""
    (mask,) = response["data"]
    values = np.asarray(Image.open(io.BytesIO(base64.b64decode(mask["b64_json"]))))
    segments = [(each["value"], each["prompts"]) for each in mask["segments"]]
    assert expected.values is not None
    if values.shape != expected.values.shape or segments != [
        (each.value, list(each.prompts)) for each in expected.segments
    ]:
        return 0.0, 1.0
    scores = ((each["score"], its.score) for each, its in zip(mask["segments"], expected.segments, strict=True))
    return iou(values, expected.values), max(abs(one - other) for one, other in scores)
