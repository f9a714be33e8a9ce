"""Reads repositories of a Hugging Face hub, and downloads their files with resuming.

huggingface_hub implements the protocol, tokens and the environment (`HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE`). Its
own download restarts a file after the process was interrupted, so files are received here.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO

from maskery.models.errors import DownloadError, StoreError

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

# Seconds to wait for an answer, or for the next bytes of a file.
_TIMEOUT = 20.0

Counter = Callable[[int, int | None], None]


class OfflineError(DownloadError):
    """`HF_HUB_OFFLINE` is set."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository.

    Attributes:
        name: of the file.
        size: in bytes, if known.
        sha256: of its content, if known, as for large files.
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
        url: of its page.
        created: Unix time of the commit, if known.
        licence: as its owner wrote it.
        files: by name.
    """

    name: str
    revision: str
    url: str
    created: int | None
    licence: str | None
    files: dict[str, RemoteFile]


def look_up(name: str, revision: str | None = None) -> Repository:
    """Read the description of a repository.

    Args:
        revision: commit, branch or tag; None: the main branch.

    Raises:
        StoreError: the repository does not exist, cannot be accessed, or the hub does not answer.
    """
    hub = _hub()
    with _one_sentence(name, revision):
        try:
            found = hub.HfApi(endpoint=_endpoint()).model_info(
                name, revision=revision, files_metadata=True, timeout=_TIMEOUT
            )
            files = [
                RemoteFile(file.rfilename, file.size, file.lfs.sha256 if file.lfs else None)
                for file in found.siblings or []
            ]
            return Repository(
                name=name,
                revision=str(found.sha or ""),
                url=f"{_endpoint()}/{name}",
                created=int(found.last_modified.timestamp()) if found.last_modified else None,
                licence=_licence(found.card_data),
                files={file.name: file for file in files},
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, _failures()):
                raise
            raise StoreError(f"{_endpoint()} does not answer like a Hugging Face hub: check HF_ENDPOINT") from None


def cached_snapshot(name: str, revision: str | None = None) -> Path | None:
    """The folder of a repository in the cache of huggingface_hub; its name is the commit. Reads only local files."""
    file = _hub().try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(file).parent if isinstance(file, str) else None


def fetch(repository: Repository, file: RemoteFile, target: Path, progress: Counter | None = None) -> None:
    """Download a file, resuming an earlier download.

    Args:
        target: of the complete file. Until it is complete, it has the suffix `.part`.
        progress: called with the number of bytes received, and the number expected.

    Raises:
        DownloadError: the file was not received completely.
        OSError: the file cannot be written.
    """
    if target.exists():
        return
    part = target.with_name(f"{target.name}.part")
    part.touch()
    with part.open("r+b") as output:
        if file.size is None or output.seek(0, os.SEEK_END) > file.size:
            output.truncate(output.seek(0))
        with _one_sentence(repository.name, repository.revision):
            while (received := output.seek(0, os.SEEK_END)) != file.size:
                try:
                    _receive(repository, file, output, progress)
                    break
                except _hub().errors.HTTPError as error:
                    # A broken connection is resumed as long as each attempt receives something.
                    if isinstance(error, _hub().errors.HfHubHTTPError) or output.tell() == received:
                        raise
        if file.size is not None and output.tell() != file.size:
            arrived = f"{output.tell():,} of {file.size:,} bytes"
            raise DownloadError(f"{file.name} of {repository.name} has {arrived}: run the command again to resume")
        output.flush()
        os.fsync(output.fileno())
    part.replace(target)


def _receive(repository: Repository, file: RemoteFile, output: BinaryIO, progress: Counter | None) -> None:
    """Append the rest of a file."""
    hub, received = _hub(), output.tell()
    url = hub.hf_hub_url(repository.name, file.name, revision=repository.revision, endpoint=_endpoint())
    headers = {**hub.utils.build_hf_headers(library_name="maskery"), "Accept-Encoding": "identity"}
    if received:
        headers["Range"] = f"bytes={received}-"
    session = hub.get_session()
    with session.stream("GET", url, headers=headers, timeout=_TIMEOUT, follow_redirects=True) as response:
        hub.utils.hf_raise_for_status(response)
        if response.status_code != 206:
            output.truncate(output.seek(0))
        for chunk in response.iter_bytes(2**18):
            output.write(chunk)
            if progress:
                progress(output.tell(), file.size)


def _hub() -> ModuleType:
    """Import huggingface_hub, which takes half a second, only when it is needed."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub  # noqa: PLC0415
    import huggingface_hub.utils  # noqa: PLC0415

    return huggingface_hub


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def _licence(card: Any) -> str | None:
    named = getattr(card, "license", None)
    return named if isinstance(named, str) else None


def _failures() -> tuple[type[Exception], ...]:
    """Errors of an HTTP request, those of huggingface_hub included."""
    errors = _hub().errors
    return (errors.HTTPError, errors.OfflineModeIsEnabled, errors.HFValidationError)


@contextmanager
def _one_sentence(name: str, revision: str | None) -> Iterator[None]:
    try:
        yield
    except _failures() as error:
        offline = isinstance(error, _hub().errors.OfflineModeIsEnabled)
        raise (OfflineError if offline else DownloadError)(_explain(error, name, revision)) from None


def _explain(error: Exception, name: str, revision: str | None) -> str:
    errors, endpoint = _hub().errors, _endpoint()
    match error:
        case errors.OfflineModeIsEnabled():
            return (
                f"HF_HUB_OFFLINE is set and {name} is not in the cache of huggingface_hub: unset it, or install from a "
                "folder with --from DIR"
            )
        case errors.HFValidationError():
            return f"{name!r} is not a repository's name: use owner/name, or install from a folder with --from DIR"
        case errors.RevisionNotFoundError():
            return f"{name} has no revision {revision} on {endpoint}"
        case errors.HfHubHTTPError():
            return _explain_status(error, name, endpoint)
        case _:
            return (
                f"no answer from {endpoint} ({error or type(error).__name__}): run the command again when the network "
                "is back to resume, or install from a folder with --from DIR"
            )


def _explain_status(error: "HfHubHTTPError", name: str, endpoint: str) -> str:
    status = error.response.status_code
    terms = f"accept its terms at {endpoint}/{name} if it has any"
    match status:
        case 401:
            return f"{endpoint} has no public model {name} (401): check the name, or set HF_TOKEN to one with access"
        case 403:
            return f"this token has no access to {name} at {endpoint} (403): {terms}, or set HF_TOKEN to another"
        case 404:
            return f"{endpoint} has no model {name} (404): check the name"
        case _:
            return f"{endpoint} answers {status} for {name}: run the command again later to resume"
