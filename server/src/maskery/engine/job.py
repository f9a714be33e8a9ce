"""What the engine is asked for."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from maskery.segmentation import Exif, ObjectPrompt, Options, PromptLimits, Size, digest, parse_prompt

#: Called with the pixels of an image before it is encoded; what it raises keeps it from being. What it returns is
#: called if encoding fails.
QuotaHook = Callable[[int], Awaitable[Callable[[], Awaitable[None]]]]


@dataclass(frozen=True)
class Prompt:
    """The prompt as it was sent; it can be checked only when the image's size is known."""

    segment_prompt: Any
    point_labels: Any = None
    boxes: Any = None
    mask_prompts: Any = None

    def check(self, size: Size, limits: PromptLimits) -> tuple[ObjectPrompt, ...]:
        """The objects that it names.

        Args:
            size: of the image.

        Raises:
            PromptError: with the path of what is wrong.
        """
        return parse_prompt(self.segment_prompt, size, self.point_labels, self.boxes, self.mask_prompts, limits)


@dataclass(frozen=True, eq=False)
class Upload:
    """An image as it was sent.

    Attributes:
        data: the file's bytes.
        exif: as of `ImageFile`.
        digest: name of the image; made with the object, which for a large file is work for a thread.
    """

    data: bytes
    exif: Exif = "apply"
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", digest(self.data, self.exif))


@dataclass(frozen=True)
class Reference:
    """An image that was prepared before.

    Attributes:
        id: that it was given.
    """

    id: str


@dataclass(frozen=True, eq=False)
class Job:
    """An image and what is asked of it.

    Attributes:
        account: whose job it is; embeddings are kept for it alone unless the engine shares them.
        toll: what a new image has to pass.
    """

    model: str
    image: Upload | Reference
    prompt: Prompt
    options: Options = field(default_factory=Options)
    account: str = ""
    quota_hook: QuotaHook | None = None
