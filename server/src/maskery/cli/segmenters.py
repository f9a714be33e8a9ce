"""Where answers come from: this process, or a server. Both give the API's own JSON."""

import json
from collections.abc import Callable
from typing import Any

import httpx

from maskery.api.container import image_limits, make_registry, prompt_limits
from maskery.api.errors import ApiError
from maskery.api.requests.body import Body
from maskery.api.requests.segmentation import parse_request, to_job
from maskery.api.schemas.rendering import render
from maskery.api.schemas.segmentation import SegmentationResponse
from maskery.cli.errors import CommandError
from maskery.engine import segment_directly
from maskery.settings import Settings

_HOW_TO_NAME_A_KEY = "name the key with --key, MASKERY_API_KEY or AIR_API_KEY"

Answer = dict[str, Any]

#: An image's file to the answer; safe from several threads at once.
Source = Callable[[bytes], Answer]


def local(fields: dict[str, Any]) -> Source:
    """Segments in this process.

    Args:
        fields: the request's, without the image.

    Raises:
        ModelNotInstalled, StoreError: before any image is read.
    """
    settings = Settings.load()
    models, on_images, on_prompts = make_registry(settings), image_limits(settings), prompt_limits(settings)
    models.get(fields["model"])

    def ask(image: bytes) -> Answer:
        try:
            request, data = parse_request(Body(json.dumps(fields).encode(), image))
            job = to_job(request, data, on_images)
        except ApiError as error:
            raise CommandError(error.message) from None
        segmentation = segment_directly(models, on_images, on_prompts, job)
        answer: Answer = json.loads(render(segmentation, request.response_format or "b64_json"))
        return answer

    return ask


def remote(fields: dict[str, Any], url: str, key: str | None, timeout: float) -> Source:
    """Asks a server, in forms: no base64."""
    client = httpx.Client(headers=_authorization(key), timeout=timeout)
    address = f"{url.rstrip('/')}/v1/images/segmentations"
    request = json.dumps(fields)

    def ask(image: bytes) -> Answer:
        try:
            response = client.post(
                address,
                data={"request": request},
                files={"image": ("image", image)},
                headers={"x-request-timeout": str(timeout)},
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CommandError(f"no answer from {url}: {error or type(error).__name__}.") from None
        return _read(response, url)

    return ask


def _authorization(key: str | None) -> dict[str, str]:
    """The header with the key. A key never stands in a sentence: whoever sees the sentence could use it."""
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise CommandError(f"the API key holds characters that no key has; {_HOW_TO_NAME_A_KEY}.")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _read(response: httpx.Response, url: str) -> Answer:
    try:
        answer: Answer = response.json()
        if response.is_success:
            if not SegmentationResponse.model_validate(answer).data:
                raise ValueError("no masks")
            return answer
        sentence = str(answer["error"]["message"])
    except (ValueError, KeyError, TypeError):
        raise CommandError(
            f"{url} is not a segmentation server: it answers {response.status_code}, but no masks and no reason."
        ) from None
    if response.status_code == httpx.codes.UNAUTHORIZED:
        sentence = f"{sentence} Here, {_HOW_TO_NAME_A_KEY}."
    raise CommandError(sentence)
