"""Errors in the input of a segmentation.

SegmentationError
├── ImageError              the image
│   ├── NotAnImage          not an image, an unsupported format, or damaged
│   └── ImageTooLarge       more bytes or pixels than the limit
└── PromptError             the prompt or an option, at `param`
"""

from maskery.errors import UserError


class SegmentationError(UserError, ValueError):
    """Base class of errors in an image, a prompt or an option."""


class ImageError(SegmentationError):
    """The image cannot be segmented."""


class NotAnImage(ImageError):  # noqa: N818 - the name states what was found
    """The bytes are not an image, are in an unsupported format, or are damaged."""


class ImageTooLarge(ImageError):  # noqa: N818
    """The image has more bytes or pixels than the limit."""


class PromptError(SegmentationError):
    """The prompt or an option is invalid.

    Attributes:
        param: path of the invalid field, such as ``segment_prompt[0][1]``.
    """

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param

    def __reduce__(self) -> tuple[type["PromptError"], tuple[str, str]]:
        return type(self), (str(self), self.param)
