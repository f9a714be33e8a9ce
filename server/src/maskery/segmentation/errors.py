"""What can be wrong with a request, as the subject itself sees it.

SegmentationError
├── ImageError            the image
│   ├── NotAnImage             not an image, not one we read, or a damaged one
│   └── ImageTooLarge         more bytes or pixels than the limit in force
└── PromptError             the prompt or an option, at `param`
"""

from maskery.errors import UserError


class SegmentationError(UserError, ValueError):
    """Base of every error that the sender of a request can mend."""


class ImageError(SegmentationError):
    """The image cannot be segmented."""


class NotAnImage(ImageError):  # noqa: N818 - the name states what was found
    """The bytes are not an image, are of a kind we do not read, or are damaged."""


class ImageTooLarge(ImageError):  # noqa: N818
    """The image has more bytes or pixels than the limit in force."""


class PromptError(SegmentationError):
    """The prompt or an option is wrong.

    Attributes:
        param: path of what is wrong, as a program would write it: ``segment_prompt[0][1]``.
    """

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param

    def __reduce__(self) -> tuple[type["PromptError"], tuple[str, str]]:
        return type(self), (str(self), self.param)
