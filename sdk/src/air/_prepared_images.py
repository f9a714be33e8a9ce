"""Images that a server has encoded in advance, and the flows that upload, use and delete them."""

import copy
import hashlib
import logging
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

from pydantic import Field

from ._config import Config
from ._encoding import Body, json_body
from ._image_input import Exif, HeldImage, ImageInput, as_held, image_body
from ._network import process_generation
from ._responses import AnswerT
from ._transport import Call, Flow, dispatch
from .errors import (
    AirError,
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    BadResponseError,
    GatewayTimeoutError,
    ImageNotPreparedError,
    InputError,
)
from .types.base import Answer, Nothing

_log = logging.getLogger("air")

_PATH = "/v1/images"


class ImageAnswer(Answer):
    """The answer of ``POST /v1/images``."""

    id: str = Field(pattern="^[A-Za-z0-9_-]+$")
    width: int
    height: int
    expires_in: float


class Place(NamedTuple):
    """Where an id is valid: on one server, for one account and one model.

    Attributes:
        account: a digest of the key, so that no image contains the key itself.
    """

    base_url: str
    account: str
    model: str

    @classmethod
    def of(cls, config: Config, extra_headers: Mapping[str, str] | None, model: str) -> "Place":
        authorization = config.headers_with(extra_headers).get("authorization", "")
        return cls(config.base_url, hashlib.sha256(authorization.encode()).hexdigest(), model)


class PreparedImage(HeldImage):
    """An image that a server has encoded in advance: what ``images.prepare`` returns and ``images.segment`` accepts.

    It holds the image file (unless ``keep=False``), and is uploaded again when the server has dropped it, and once for
    each other model, server or account that it is used with. Its attributes describe the place it was first prepared
    for, and follow each new upload there. Safe to share between threads, tasks and clients of both kinds. Can be
    pickled: the pickle contains the image file, and no key.
    """

    # Shared by threads without a lock, which a fork might leave locked: each change is one operation on a dict.

    def __init__(
        self, place: Place, answer: ImageAnswer, file: bytes | str | None, exif: Exif | None, user: str | None
    ) -> None:
        self._home = place
        self._answers = {place: answer}
        self._file = file
        self._exif = exif
        self._user = user
        self._uploads: dict[tuple[int, Place], Future[AirError | None]] = {}

    @property
    def id(self) -> str:
        """The image's id on the server. ``f"id:{image.id}"`` can be passed as ``image`` too, in any process."""
        return self._answers[self._home].id

    @property
    def model(self) -> str:
        """The model that it was prepared for."""
        return self._home.model

    @property
    def width(self) -> int:
        """In pixels, of the upright image."""
        return self._answers[self._home].width

    @property
    def height(self) -> int:
        """In pixels, of the upright image."""
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
        """Whether it holds the image file."""
        return self._file is not None

    @property
    def request_id(self) -> str | None:
        """The ``x-request-id`` of the upload, also in the server's log."""
        return self._answers[self._home].request_id

    def held_file(self) -> bytes | str:
        """The image file, or its base64 if that was passed. Raises InputError unless it was kept."""
        if self._file is None:
            raise InputError("image was prepared with keep=False and does not hold the image: pass the image itself")
        return self._file

    def _known(self, place: Place) -> ImageAnswer | None:
        """What the server answered for this place."""
        answer = self._answers.get(place)
        if answer is None and not self.kept:
            # It cannot be uploaded for this key; the key may belong to the same account.
            near = [known for at, known in list(self._answers.items()) if (at[0], at[2]) == (place[0], place[2])]
            answer = near[0] if near else None
        return answer

    def _ids_at(self, base_url: str) -> list[str]:
        return [answer.id for place, answer in list(self._answers.items()) if place.base_url == base_url]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_answers": dict(self._answers), "_uploads": {}}

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(id={self.id!r}, model={self.model!r}, width={self.width}, height={self.height}, "
            f"expires_in={self.expires_in:g}, kept={self.kept})"
        )


def preparation(
    config: Config,
    image: ImageInput,
    model: str,
    extra_headers: Mapping[str, str] | None,
    exif: Exif | None,
    user: str | None,
    keep: bool,
) -> Flow[PreparedImage]:
    place = Place.of(config, extra_headers, model)
    file = yield lambda: as_held(image, exif)
    if exif is None and isinstance(image, PreparedImage):
        exif = image._exif
    answer = yield from dispatch(_upload(config, file, model, exif, user, extra_headers))
    return PreparedImage(place, answer, file if keep else None, exif, user)


def deletion(config: Config, image: PreparedImage | str, extra_headers: Mapping[str, str] | None) -> Flow[None]:
    if isinstance(image, PreparedImage):
        ids = image._ids_at(config.base_url)
        if not ids:
            raise InputError(
                f"image was prepared at {image._home.base_url}, not at {config.base_url}: delete it with that client"
            )
    else:
        ids = [checked_id(image)]
    for each in ids:
        try:
            headers = {**({"x-session-id": key} if (key := _session_id(each)) else {}), **(extra_headers or {})}
            yield from dispatch(Call("DELETE", f"{_PATH}/{each}", Nothing, headers=headers))
        except ImageNotPreparedError:
            _log.debug("%s had been dropped already", each)


def id_body(identifier: str, fields: dict[str, Any]) -> Body:
    """A prepared image's id and the fields as JSON. Raises InputError as `json_body` does."""
    return json_body({"image_prompt": f"id:{identifier}", **fields}, _session_id(identifier))


def _session_id(identifier: str) -> str | None:
    """The image's, which a Maskery server makes part of its ids."""
    found = re.match("img_([0-9a-f]{32})", identifier)
    return found and found[1]


def with_prepared(
    config: Config,
    image: PreparedImage,
    model: str,
    extra_headers: Mapping[str, str] | None,
    call: Callable[[str], Call[AnswerT]],
) -> Flow[AnswerT]:
    """Dispatch ``call`` of the image's id; upload the image first where the server does not have it.

    Raises:
        InputError: it was never prepared there, and does not hold its file.
        ImageNotPreparedError: the server has dropped it, and it does not hold its file; or the server dropped it
            again right after an upload.
    """
    place = Place.of(config, extra_headers, model)
    known = image._known(place)
    if known is None:
        known = yield from _uploaded(config, image, place, None, extra_headers)
    try:
        return (yield from dispatch(call(known.id)))
    except ImageNotPreparedError as error:
        if not image.kept:
            error.add_note("the image was prepared with keep=False, so it cannot be uploaded again: prepare it anew")
            raise
    known = yield from _uploaded(config, image, place, known, extra_headers)
    return (yield from dispatch(call(known.id)))


def _uploaded(
    config: Config,
    image: PreparedImage,
    place: Place,
    dropped: ImageAnswer | None,
    extra_headers: Mapping[str, str] | None,
) -> Flow[ImageAnswer]:
    """The answer of a later upload than ``dropped``. Of several callers at the same time, one uploads.

    If the server refuses that upload, all of them get its error. If the one that uploads gives up (it reached its
    time limit or was cancelled), another takes over.
    """
    if not image.kept:
        raise InputError(
            f"image was prepared for model {image.model!r} at {image._home.base_url}, with keep=False: it cannot be "
            f"uploaded for model {place.model!r} at {place.base_url}; prepare it there"
        )
    key = (process_generation(), place)  # an upload that was running at a fork never completes in the child
    mine: Future[AirError | None] = Future()
    refusal: AirError | None = None
    try:
        while (running := image._uploads.setdefault(key, mine)) is not mine:
            error = yield running
            if error is not None:
                raise copy.copy(error)
        known = image._answers.get(place)
        if known is None or known is dropped:
            if dropped is not None:
                _log.info("%s has dropped the prepared image %s; uploading it again", place.base_url, dropped.id)
            upload = _upload(config, image.held_file(), place.model, image._exif, image._user, extra_headers)
            known = image._answers[place] = yield from dispatch(upload)
        return known
    except AirError as error:
        refusal = error if _concerns_all(error) else None
        raise
    finally:
        if image._uploads.get(key) is mine:
            del image._uploads[key]
        mine.set_result(refusal)


def _concerns_all(error: AirError) -> bool:
    """Whether it is due to the server, and not to the arguments of one caller such as its time limit."""
    from_server = isinstance(error, APIConnectionError | BadResponseError | APIStatusError)
    return from_server and not isinstance(error, APITimeoutError | GatewayTimeoutError)


def _upload(
    config: Config,
    file: bytes | str,
    model: str,
    exif: Exif | None,
    user: str | None,
    extra_headers: Mapping[str, str] | None,
) -> Call[ImageAnswer]:
    options = {"exif": exif, "user": user}
    fields: dict[str, Any] = {"model": model} | {name: value for name, value in options.items() if value is not None}
    return Call(
        "POST", _PATH, ImageAnswer, body=lambda: image_body(config.upload, file, exif, fields), headers=extra_headers
    )


def checked_id(text: str) -> str:
    """The id in ``"img_…"`` or ``"id:img_…"``. Raises InputError for other text."""
    if not isinstance(text, str):
        raise InputError(f"image must be a PreparedImage or its id, got {type(text).__name__}")
    bare = text.removeprefix("id:")
    if not re.fullmatch("img_[A-Za-z0-9_-]+", bare):
        raise InputError(f'image is not the id of a prepared image, "img_...": {text[:80]!r}')
    return bare
