"""Fetches the images of tasks, from the Label Studio server that the operator has named and from nowhere else."""

import base64
from collections.abc import Callable
from urllib.parse import quote, urlsplit

import httpx
import pybase64
from pydantic import BaseModel, ValidationError

from maskery.errors import UserError
from maskery.segmentation import ImageTooLarge, PromptError

# Seconds to connect, and between two parts of a response.
_TIMEOUT = 10.0

# A personal access token is a JSON Web Token, which begins with this; it is exchanged for one that lasts minutes.
_PERSONAL = "eyJ"

_UNAUTHORIZED = (401, 403)


class ImageUnavailable(UserError):  # noqa: N818 - the name states what was found
    """Label Studio does not have the image, or does not give it out."""


class _Access(BaseModel):
    """What a personal access token is exchanged for."""

    access: str


class LabelStudioImages:
    """Fetches images. For one event loop.

    Args:
        url: of the Label Studio server.
        token: of a user: a legacy token or a personal access token; None: images are fetched without one.
        max_bytes: of an image's file.
    """

    def __init__(self, url: str, token: str | None, max_bytes: int) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._max_bytes = max_bytes
        self._access: str | None = None
        # Redirects would lead to other servers.
        self._client = httpx.AsyncClient(follow_redirects=False, timeout=_TIMEOUT)

    async def close(self) -> None:
        await self._client.aclose()

    async def fetch(self, source: str, task: int | None, arrived: Callable[[int], None]) -> bytes:
        """The file of an image.

        Args:
            source: as it is in the task: a path or URL of Label Studio, a `data:` URL, or the URI of a file in a cloud
                storage, which Label Studio reads.
            task: the task's id.
            arrived: called with the size of every part; an exception ends the transfer.

        Raises:
            PromptError: the image is on another server.
            ImageTooLarge: the file is larger than the limit.
            ImageUnavailable: Label Studio does not respond, or not with the image.
        """
        if source.startswith("data:"):
            return _decode(source)
        url = self._locate(source, task)
        response, data = await self._get(url, arrived)
        if response.status_code in _UNAUTHORIZED and self._access:
            # The access token has expired.
            self._access = None
            response, data = await self._get(url, arrived)
        if response.is_redirect:
            target = urlsplit(response.headers.get("location", ""))
            raise ImageUnavailable(
                f"Label Studio redirects from {source[:200]!r} to {target.netloc or target.path!r}, and images are "
                "fetched from Label Studio only: switch pre-signed URLs off in the settings of the storage, or set "
                "MASKERY_LABEL_STUDIO_TOKEN if this leads to its login"
            )
        if response.status_code in _UNAUTHORIZED:
            raise ImageUnavailable(
                f"Label Studio does not give out {source[:200]!r} ({response.status_code}): set "
                "MASKERY_LABEL_STUDIO_TOKEN to a token of a user who may see the project"
            )
        if not response.is_success:
            raise ImageUnavailable(f"Label Studio answers {response.status_code} for the image {source[:200]!r}")
        return data

    def _locate(self, source: str, task: int | None) -> str:
        """The URL on Label Studio that has the image."""
        if source.startswith("/") and not source.startswith("//"):
            return self._url + source
        if source.startswith(f"{self._url}/"):
            return source
        scheme = urlsplit(source).scheme
        if scheme and scheme not in ("http", "https") and task is not None:
            uri = base64.urlsafe_b64encode(source.encode()).decode()
            return f"{self._url}/tasks/{task}/resolve/?fileuri={quote(uri)}"
        raise PromptError(
            f"the image {source[:200]!r} is not on {self._url}: images are fetched only from Label Studio, as it is "
            "named by MASKERY_LABEL_STUDIO_URL; import the image into Label Studio or a storage that it reads",
            "tasks[0].data",
        )

    async def _get(self, url: str, arrived: Callable[[int], None]) -> tuple[httpx.Response, bytes]:
        headers = await self._authorization()
        try:
            async with self._client.stream("GET", url, headers=headers) as response:
                parts = []
                size = 0
                async for part in response.aiter_bytes():
                    size += len(part)
                    if size > self._max_bytes:
                        raise ImageTooLarge(f"the image has more than {self._max_bytes:,} bytes")
                    arrived(len(part))
                    parts.append(part)
                return response, b"".join(parts)
        except httpx.HTTPError as error:
            raise self._silent(error) from None

    async def _authorization(self) -> dict[str, str]:
        if self._token is None:
            return {}
        if not self._token.startswith(_PERSONAL):
            return {"Authorization": f"Token {self._token}"}
        if self._access is None:
            try:
                response = await self._client.post(f"{self._url}/api/token/refresh/", json={"refresh": self._token})
            except httpx.HTTPError as error:
                raise self._silent(error) from None
            if not response.is_success:
                raise ImageUnavailable(
                    f"Label Studio does not accept MASKERY_LABEL_STUDIO_TOKEN ({response.status_code})"
                )
            try:
                self._access = _Access.model_validate_json(response.content).access
            except ValidationError:
                raise ImageUnavailable(f"{self._url} does not exchange tokens as Label Studio does") from None
        return {"Authorization": f"Bearer {self._access}"}

    def _silent(self, error: httpx.HTTPError) -> ImageUnavailable:
        return ImageUnavailable(f"Label Studio at {self._url} does not respond: {str(error) or type(error).__name__}")


def _decode(url: str) -> bytes:
    head, comma, payload = url.partition(",")
    if not comma or not head.endswith(";base64"):
        raise PromptError("the image is a data: URL that does not begin with data:image/…;base64,", "tasks[0].data")
    try:
        return pybase64.b64decode(payload, validate=True)
    except ValueError:
        raise PromptError("the image's data: URL is not base64", "tasks[0].data") from None
