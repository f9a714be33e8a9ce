"""Many clients at once: every answer is compared with the one that is right."""

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

from benchmarks.soak.questions import Question, iou, points
from benchmarks.soak.server import Server
from maskery.segmentation import Mask

# Of two forms of the same arithmetic in 16 bits.
_SCORES_DIFFER = 0.01
_IOU = 0.999

# Times that an image is prepared again because others took its room before it was clicked on.
_TRIES = 5


class WrongAnswer(Exception):  # noqa: N818 - the name states what was found
    """The server answered something else than a mask."""


@dataclass
class Seen:
    """What came back.

    Attributes:
        answers: by how the image was named: "bytes", "id".
        prepared: images sent ahead, those among them that had made room for others before.
        lowest_iou: of an answer with the one that is right.
        largest_difference: of a score with the one that is right.
        wrong: answers that are not the right ones, in words.
    """

    answers: Counter[str] = field(default_factory=Counter)
    prepared: int = 0
    lowest_iou: float = 1.0
    largest_difference: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Clients:
    """Threads that ask one server.

    Args:
        server: that is asked.
        model: that answers.
        images: by number.
        right: the right answer, by image and prompt.
        clients: questions at the same time.
    """

    def __init__(
        self, server: Server, model: str, images: Sequence[bytes], right: Callable[[int, int], Mask], clients: int
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
        self._right = right
        self._ids: dict[int, str] = {}
        self.seen = Seen()

    def ask(self, questions: Sequence[Question]) -> None:
        """All of them, and compare the answers.

        Raises:
            WrongAnswer: the server answered with an error.
        """
        for question, answer in zip(questions, self._pool.map(self._ask, questions), strict=True):
            self._compare(question, answer)

    def metrics(self) -> dict[str, float]:
        """The server's metrics without labels, by name."""
        lines = (line.split() for line in self._http.get("/metrics").raise_for_status().text.splitlines())
        return {fields[0]: float(fields[1]) for fields in lines if len(fields) == 2 and "{" not in fields[0]}

    def close(self) -> None:
        self._pool.shutdown()
        self._http.close()

    def _ask(self, question: Question) -> Any:
        body = {"model": self._model, "segment_prompt": points(question)}
        if not question.by_id:
            return self._post({**body, "image_prompt": self._base64(question.image)})
        for _ in range(_TRIES):
            if question.image not in self._ids:
                self._ids[question.image] = self._prepare(question.image)
            response = self._send({**body, "image_prompt": f"id:{self._ids[question.image]}"})
            if response.is_success:
                return response.json()
            if response.status_code != 404:
                raise WrongAnswer(f"{question}: {response.status_code} {response.text}")
            self._ids.pop(question.image, None)
        raise WrongAnswer(f"{question}: prepared {_TRIES} times, and gone each time")

    def _prepare(self, number: int) -> str:
        body = {"model": self._model, "image_prompt": self._base64(number)}
        response = self._http.post("/v1/images", json=body)
        if response.status_code != 201:
            raise WrongAnswer(f"image {number} cannot be prepared: {response.status_code} {response.text}")
        self.seen.prepared += 1
        return str(response.json()["id"])

    def _post(self, body: dict[str, Any]) -> Any:
        response = self._send(body)
        if not response.is_success:
            raise WrongAnswer(f"{response.status_code} {response.text}")
        return response.json()

    def _send(self, body: dict[str, Any]) -> httpx.Response:
        return self._http.post("/v1/images/segmentations", json=body)

    def _base64(self, number: int) -> str:
        return base64.b64encode(self._images[number]).decode()

    def _compare(self, question: Question, answer: Any) -> None:
        seen = self.seen
        seen.answers["id" if question.by_id else "bytes"] += 1
        alike, difference = compare(answer, self._right(question.image, question.prompt))
        seen.lowest_iou = min(seen.lowest_iou, alike)
        seen.largest_difference = max(seen.largest_difference, difference)
        if alike < _IOU or difference > _SCORES_DIFFER:
            seen.wrong.append(f"{question}: IoU {alike:.4f}, scores differ by {difference:.4f}")


def compare(answer: Any, right: Mask) -> tuple[float, float]:
    """IoU of an answer's mask with the right one, and the largest difference of their segments' scores."""
    (mask,) = answer["data"]
    values = np.asarray(Image.open(io.BytesIO(base64.b64decode(mask["b64_json"]))))
    segments = [(each["value"], each["prompts"]) for each in mask["segments"]]
    assert right.values is not None
    if values.shape != right.values.shape or segments != [(each.value, list(each.prompts)) for each in right.segments]:
        return 0.0, 1.0
    scores = ((each["score"], its.score) for each, its in zip(mask["segments"], right.segments, strict=True))
    return iou(values, right.values), max(abs(one - other) for one, other in scores)
