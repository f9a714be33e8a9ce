"""What is asked of a Hugging Face hub: what a repository holds, and its files, from where an earlier try broke off.

huggingface_hub knows the protocol, the token, the retries and the environment (`HF_ENDPOINT`, `HF_TOKEN`,
`HF_HUB_OFFLINE`). Its own download into a folder starts anew after an interruption, which two gigabytes should not.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from maskery.models.errors import DownloadError, StoreError

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

# Seconds to wait for the description of a repository.
_PATIENCE = 20.0

Counter = Callable[[int, int | None], None]


class OfflineError(DownloadError):
    """`HF_HUB_OFFLINE` is set."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository.

    Attributes:
        name: of the file.
        size: in bytes, if the hub says.
        sha256: of its content, if the hub says; it does for large files.
    """

    name: str
    size: int | None
    sha256: str | None


@dataclass(frozen=True)
class Repository:
    """A repository at one commit.

    Attributes:
        name: `owner/name`.
        revision: hash of the commit.
        address: where a person can look at it.
        created: Unix time of the commit, if the hub says.
        licence: as its owner wrote it.
        files: by name.
    """

    name: str
    revision: str
    address: str
    created: int | None
    licence: str | None
    files: dict[str, RemoteFile]


def look_up(name: str, revision: str | None = None) -> Repository:
    """What the hub holds under this name.

    Args:
        revision: commit, branch or tag; None: the main branch.

    Raises:
        StoreError: there is none, it may not be seen, or the hub does not answer.
    """
    hub = _hub()
    with _one_sentence(name, revision):
        try:
            found = hub.HfApi(endpoint=_endpoint()).model_info(
                name, revision=revision, files_metadata=True, timeout=_PATIENCE
            )
            files = [
                RemoteFile(file.rfilename, file.size, file.lfs.sha256 if file.lfs else None)
                for file in found.siblings or []
            ]
            return Repository(
                name=name,
                revision=str(found.sha or ""),
                address=f"{_endpoint()}/{name}",
                created=int(found.last_modified.timestamp()) if found.last_modified else None,
                licence=_licence(found.card_data),
                files={file.name: file for file in files},
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, _failures()):
                raise
            raise StoreError(f"{_endpoint()} does not answer as a Hugging Face hub does") from None


def fetch(repository: Repository, file: RemoteFile, target: Path, progress: Counter | None = None) -> None:
    """Download a file, or the rest of it if some has arrived before.

    Args:
        target: where it goes once it is whole; until then it is beside it, as `.part`.
        progress: called with the bytes that are there, and those there will be.

    Raises:
        DownloadError: it has not come, or not whole.
        OSError: it cannot be written.
    """
    if target.exists():
        return
    hub = _hub()
    url = hub.hf_hub_url(repository.name, file.name, revision=repository.revision, endpoint=_endpoint())
    part = target.with_name(f"{target.name}.part")
    part.touch()
    with _one_sentence(repository.name, repository.revision), _Part(part, file.size, progress) as output:
        arrived = output.seek(0, os.SEEK_END)
        if file.size is None or arrived > file.size:
            arrived = output.truncate(output.seek(0))
        # Its own bar stays away; where there is one, `progress` draws it.
        hub.utils.disable_progress_bars()
        hub.utils.logging.set_verbosity_error()
        hub.file_download.http_get(
            url,
            cast(BinaryIO, output),
            resume_size=arrived,
            headers=hub.utils.build_hf_headers(library_name="maskery"),
            expected_size=file.size,
        )
        output.flush()
        os.fsync(output.fileno())
    part.replace(target)


class _Part(io.BufferedRandom):
    """A file that says how far it has been written."""

    def __init__(self, path: Path, size: int | None, progress: Counter | None) -> None:
        super().__init__(io.FileIO(path, "r+b"))
        self._size = size
        self._progress = progress

    def write(self, data: Any, /) -> int:
        written = super().write(data)
        if self._progress:
            self._progress(self.tell(), self._size)
        return written


def _hub() -> ModuleType:
    """huggingface_hub, which takes half a second to import, only when something is installed from a hub."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub  # noqa: PLC0415
    import huggingface_hub.file_download  # noqa: PLC0415
    import huggingface_hub.utils  # noqa: PLC0415

    return huggingface_hub


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def _licence(card: Any) -> str | None:
    named = getattr(card, "license", None)
    return named if isinstance(named, str) else None


def _failures() -> tuple[type[Exception], ...]:
    """What an exchange over HTTP can end in; huggingface_hub's own errors are among them."""
    errors = _hub().errors
    return (errors.HTTPError, errors.OfflineModeIsEnabled, errors.HFValidationError)


@contextmanager
def _one_sentence(name: str, revision: str | None) -> Iterator[None]:
    try:
        yield
    except _failures() as error:
        offline = isinstance(error, _hub().errors.OfflineModeIsEnabled)
        raise (OfflineError if offline else DownloadError)(_explain(error, name, revision)) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise DownloadError(f"the download of {name} broke off: run the command again and it goes on") from None


def _explain(error: Exception, name: str, revision: str | None) -> str:
    errors, endpoint = _hub().errors, _endpoint()
    match error:
        case errors.OfflineModeIsEnabled():
            return f"HF_HUB_OFFLINE is set, so {name} is not downloaded: unset it, or install a folder with --from DIR"
        case errors.HFValidationError():
            return f"{name!r} is not the name of a repository: write owner/name, or install a folder with --from DIR"
        case errors.RevisionNotFoundError():
            return f"{name} has no revision {revision} on {endpoint}"
        case errors.HfHubHTTPError():
            return _explain_status(error, name, endpoint)
        case _:
            return (
                f"no answer from {endpoint} ({error or type(error).__name__}): run the command again when the network "
                "is back and it goes on, or install a folder with --from DIR"
            )


def _explain_status(error: "HfHubHTTPError", name: str, endpoint: str) -> str:
    status = error.response.status_code
    terms = f"accept its terms at {endpoint}/{name} if it has any"
    match status:
        case 401:
            return (
                f"{endpoint} shows no model {name} (401): check the name, or set HF_TOKEN to a token that may read it"
            )
        case 403:
            return f"{endpoint} does not let this token read {name} (403): {terms}, or set HF_TOKEN to another token"
        case 404:
            return f"{endpoint} has no model {name} (404): check the name"
        case _:
            return f"{endpoint} answers {status} when asked for {name}: run the command again later and it goes on"
