"""A picture that a server has encoded ahead."""

import hashlib
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Literal, NamedTuple

from pydantic import Field

from ._config import Config
from .errors import AirError, InputError
from .types import Answer

Exif = Literal["apply", "ignore"]


class ImageAnswer(Answer):
    """The answer of ``POST /v1/images``."""

    id: str = Field(pattern="^[A-Za-z0-9_-]+$")
    width: int
    height: int
    expires_in: float


class Place(NamedTuple):
    """Where an id is valid: at one server, for one account and one model.

    Attributes:
        account: a digest of the key: no picture holds the key itself.
    """

    base_url: str
    account: str
    model: str

    @classmethod
    def of(cls, config: Config, extra_headers: Mapping[str, str] | None, model: str) -> "Place":
        authorization = config.headers_with(extra_headers).get("authorization", "")
        return cls(config.base_url, hashlib.sha256(authorization.encode()).hexdigest(), model)


class PreparedImage:
    """A picture that a server has encoded ahead: what ``images.prepare`` answers, and ``images.segment`` takes.

    It holds the picture's file (unless ``keep=False``), so that whatever needs the picture can have it again: it is
    uploaded anew when the server has dropped it, and for each other model, server or account that it is used with.
    Its attributes speak of the place that it was prepared for first, and follow each new upload there. Safe to share
    between threads, tasks and clients of both kinds. Can be pickled: the picture travels along, no key does.
    """

    def __init__(
        self, place: Place, answer: ImageAnswer, picture: bytes | str | None, exif: Exif | None, user: str | None
    ) -> None:
        self._home = place
        self._answers = {place: answer}
        self._picture = picture
        self._exif = exif
        self._user = user
        self._flights: dict[Place, Future[AirError | None]] = {}
        self._lock = threading.RLock()  # a task that is thrown away may land its flight in whatever thread runs

    @property
    def id(self) -> str:
        """The picture's name on the server. ``f"id:{image.id}"`` may be passed as ``image`` too, by anyone."""
        return self._answers[self._home].id

    @property
    def model(self) -> str:
        """The model that it was prepared for."""
        return self._home.model

    @property
    def width(self) -> int:
        """In pixels, as a person sees it."""
        return self._answers[self._home].width

    @property
    def height(self) -> int:
        """In pixels, as a person sees it."""
        return self._answers[self._home].height

    @property
    def expires_in(self) -> float:
        """Seconds without use after which the server drops it; a full cache or a restart may do so earlier."""
        return self._answers[self._home].expires_in

    @property
    def exif(self) -> Exif:
        """Whether it was turned as its EXIF orientation says: "apply" or "ignore"."""
        return self._exif or "apply"

    @property
    def kept(self) -> bool:
        """Whether it holds the picture."""
        return self._picture is not None

    @property
    def request_id(self) -> str | None:
        """The ``x-request-id`` of the upload, which the server's log has too."""
        return self._answers[self._home].request_id

    def _held(self) -> bytes | str:
        """The picture's file, or its base64 where that was passed. Raises InputError unless it is kept."""
        if self._picture is None:
            raise InputError("image was prepared with keep=False and does not hold the picture: pass the picture")
        return self._picture

    def _known(self, place: Place) -> ImageAnswer | None:
        """What the server said of it there."""
        with self._lock:
            answer = self._answers.get(place)
            if answer is None and not self.kept:
                # It cannot be uploaded for this key; perhaps the key belongs to the same account.
                near = [known for at, known in self._answers.items() if (at[0], at[2]) == (place[0], place[2])]
                answer = near[0] if near else None
            return answer

    def _ids_at(self, base_url: str) -> list[str]:
        with self._lock:
            return [answer.id for place, answer in self._answers.items() if place.base_url == base_url]

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {**vars(self), "_answers": dict(self._answers), "_flights": {}, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.RLock())

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(id={self.id!r}, model={self.model!r}, width={self.width}, height={self.height}, "
            f"expires_in={self.expires_in:g}, kept={self.kept})"
        )
