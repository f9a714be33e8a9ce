"""The input of the engine: jobs, and the registry that models come from."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from maskery.segmentation import (
    AutomaticOptions,
    Exif,
    Model,
    ObjectPrompt,
    Options,
    PromptLimits,
    Size,
    digest,
    parse_prompt,
)

#: Called with the number of pixels of an image that is about to be encoded. Entering the context charges a quota, or
#: raises an exception and the image is not encoded; leaving it with an exception refunds the charge.
QuotaHook = Callable[[int], AbstractAsyncContextManager[None]]


class ModelRegistry(Protocol):
    """Loads models by name. Safe from several threads; `maskery.models.Registry` is one."""

    def get(self, name: str) -> Model:
        """The model of this name or alias, loaded if necessary.

        Raises:
            LookupError: there is no such model.
        """
        ...

    def get_loaded(self, name: str) -> Model | None:
        """As `get`, but None where the model is not loaded yet."""
        ...


@dataclass(frozen=True)
class Prompt:
    """A prompt as it was sent. It can be checked only when the image's size is known."""

    segment_prompt: Any
    point_labels: Any = None
    boxes: Any = None
    mask_prompts: Any = None
    labels: Any = None

    def check(self, size: Size, limits: PromptLimits) -> tuple[ObjectPrompt, ...]:
        """The prompt's objects.

        Args:
            size: of the upright image.

        Raises:
            PromptError: the prompt is invalid; the error has the path of the field.
        """
        return parse_prompt(
            self.segment_prompt, size, self.point_labels, self.boxes, self.mask_prompts, self.labels, limits
        )


@dataclass(frozen=True, eq=False)
class Upload:
    """An image file as it was sent.

    Attributes:
        data: the file's bytes.
        exif: whether the EXIF orientation is applied, see `ImageFile`.
        digest: hash of both. It is computed by the constructor: for large files, call that in a thread.
    """

    data: bytes
    exif: Exif = "apply"
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", digest(self.data, self.exif))

    @property
    def session_id(self) -> str:
        """The first 32 hexadecimal digits of the SHA-256 of the file, by which proxies and clusters choose a server."""
        return self.digest[:32]


@dataclass(frozen=True)
class Reference:
    """A prepared image, by its id."""

    id: str


@dataclass(frozen=True, eq=False)
class Job:
    """An image, a prompt and options: one segmentation.

    Attributes:
        prompt: the objects; or, to segment everything in the image, how. Of `options`, only `size` is used then.
        account: the caller's. Embeddings are kept per account unless the engine shares them.
        quota_hook: charges the quota if the image is encoded.
    """

    model: str
    image: Upload | Reference
    prompt: Prompt | AutomaticOptions
    options: Options = field(default_factory=Options)
    account: str = ""
    quota_hook: QuotaHook | None = None
