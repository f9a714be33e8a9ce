"""Preparing pictures, using them, and letting them go: the programs that both kinds of client run."""

import copy
import logging
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from ._responses import AnswerT
from ._encoding import picture_body
from ._config import Config
from ._image_input import Picture, as_kept
from ._prepared import Exif, ImageAnswer, Place, PreparedImage
from ._transport import Call, Program, ask
from .errors import (
    AirError,
    APIConnectionError,
    APIStatusError,
    BadResponseError,
    GatewayTimeoutError,
    ImageNotPreparedError,
    InputError,
)
from .types import Nothing

_log = logging.getLogger("air")

_PATH = "/v1/images"


def preparation(
    config: Config,
    image: Picture,
    model: str,
    extra_headers: Mapping[str, str] | None,
    exif: Exif | None,
    user: str | None,
    keep: bool,
) -> Program[PreparedImage]:
    place = Place.of(config, extra_headers, model)
    picture = yield lambda: as_kept(image)
    if exif is None and isinstance(image, PreparedImage):
        exif = image._exif
    answer = yield from ask(_upload(config, picture, model, exif, user, extra_headers))
    return PreparedImage(place, answer, picture if keep else None, exif, user)


def deletion(config: Config, image: PreparedImage | str, extra_headers: Mapping[str, str] | None) -> Program[None]:
    if isinstance(image, PreparedImage):
        ids = image._ids_at(config.base_url)
        if not ids:
            raise InputError(
                f"image was prepared at {image._home.base_url}, not at {config.base_url}: delete it with that client"
            )
    else:
        ids = [_checked_id(image)]
    for each in ids:
        try:
            yield from ask(Call("DELETE", f"{_PATH}/{each}", Nothing, headers=extra_headers))
        except ImageNotPreparedError:
            _log.debug("%s was gone already", each)


def with_prepared(
    config: Config,
    image: PreparedImage,
    model: str,
    extra_headers: Mapping[str, str] | None,
    call: Callable[[str], Call[AnswerT]],
) -> Program[AnswerT]:
    """Send what ``call`` makes of the picture's id, with the picture uploaded first where it is not yet or no longer.

    Raises:
        InputError: it was never prepared there, and its picture is not kept.
        ImageNotPreparedError: its id is gone and its picture not kept, or the id is gone once more after an upload.
    """
    place = Place.of(config, extra_headers, model)
    known = image._known(place)
    if known is None:
        known = yield from _uploaded(config, image, place, None, extra_headers)
    try:
        return (yield from ask(call(known.id)))
    except ImageNotPreparedError as error:
        if not image.kept:
            error.add_note("the picture was prepared with keep=False, so it cannot be uploaded again: prepare it anew")
            raise
    known = yield from _uploaded(config, image, place, known, extra_headers)
    return (yield from ask(call(known.id)))


def _uploaded(
    config: Config,
    image: PreparedImage,
    place: Place,
    gone: ImageAnswer | None,
    extra_headers: Mapping[str, str] | None,
) -> Program[ImageAnswer]:
    """What the server said of a newer upload than ``gone``. However many ask at once, one of them uploads.

    Where the server refuses that upload, all get its error. Where the one that uploads gives up (its time is over, it
    is cancelled), another of them takes over.
    """
    if not image.kept:
        raise InputError(
            f"image was prepared for model {image.model!r} at {image._home.base_url}, with keep=False: it cannot be "
            f"uploaded for model {place.model!r} at {place.base_url}; prepare it there"
        )
    mine: Future[AirError | None] = Future()
    refusal: AirError | None = None
    try:
        while True:
            with image._lock:
                known = image._answers.get(place)
                if known is not None and known is not gone:
                    return known
                flight = image._flights.setdefault(place, mine)
            if flight is mine:
                break
            theirs = yield flight
            if theirs is not None:
                raise copy.copy(theirs)
        if gone is not None:
            _log.info("%s has dropped the prepared picture %s; uploading it again", place.base_url, gone.id)
        call = _upload(config, image._held(), place.model, image._exif, image._user, extra_headers)
        answer = yield from ask(call)
        with image._lock:
            image._answers[place] = answer
        return answer
    except AirError as error:
        refusal = error if _holds_for_all(error) else None
        raise
    finally:
        with image._lock:
            if image._flights.get(place) is mine:
                del image._flights[place]
        mine.set_result(refusal)


def _holds_for_all(error: AirError) -> bool:
    """Not what comes of one caller's arguments, such as its time limit."""
    told = isinstance(error, APIConnectionError | BadResponseError | APIStatusError)
    return told and not isinstance(error, GatewayTimeoutError)


def _upload(
    config: Config,
    picture: bytes | str,
    model: str,
    exif: Exif | None,
    user: str | None,
    extra_headers: Mapping[str, str] | None,
) -> Call[ImageAnswer]:
    options = {"exif": exif, "user": user}
    fields: dict[str, Any] = {"model": model} | {name: value for name, value in options.items() if value is not None}
    return Call(
        "POST", _PATH, ImageAnswer, body=lambda: picture_body(config.upload, picture, fields), headers=extra_headers
    )


def _checked_id(text: str) -> str:
    """Of ``"img_…"`` or ``"id:img_…"``. Raises InputError for what could not stand in an address."""
    if not isinstance(text, str):
        raise InputError(f"image must be a PreparedImage or its id, got {type(text).__name__}")
    bare = text.removeprefix("id:")
    if not re.fullmatch("[A-Za-z0-9_-]+", bare):
        raise InputError(f"image is not the id of a prepared picture: {text[:80]!r}")
    return bare
