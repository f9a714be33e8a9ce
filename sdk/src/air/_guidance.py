"""What to say to programs and environments of the reference SDK, airefinery-sdk, which is imported as ``air`` too."""

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

# A package that every release of it has, and that Python prefers to our images.py.
if Path(__file__).with_name("images").joinpath("__init__.py").is_file():
    raise ImportError(
        "airefinery-sdk and maskery-sdk are installed in the same environment. Both are imported as `air`, and their "
        "files are mixed now. Remove both with pip uninstall -y airefinery-sdk maskery-sdk, then install one of them "
        "again. Use two environments if you need both."
    )


class SegmentationOnly:
    """Base class that explains missing attributes: programs of the reference SDK may ask for ``chat``."""

    if not TYPE_CHECKING:  # type checkers find a wrong name themselves

        def __getattr__(self, name: str) -> NoReturn:
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            if not name.startswith("_"):
                message += (
                    ". This SDK (maskery-sdk) is for image segmentation: images.segment, segment_many, prepare and "
                    "delete, models.list, validate. For the rest use airefinery-sdk, in an environment of its own"
                )
            raise AttributeError(message, name=name, obj=self)
