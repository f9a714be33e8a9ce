"""The card of an installed model: its name, origin and files."""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

FILE = "card.json"


@dataclass(frozen=True)
class Card:
    """An installed model. Times are Unix seconds.

    Attributes:
        name: that clients use.
        architecture: sam or sam_hq.
        revision: of everything that its masks depend on: the commit it was downloaded at, or a digest of its files.
        source: URL or folder that it was installed from.
        licence: of the weights, if known.
        sha256: of the file of the weights.
        nbytes: of the file of the weights.
        created: when the revision was made.
        installed: when it was installed.
        int8_iou: mean IoU of its int8 form with f32, if it has been quantized.
    """

    name: str
    architecture: str
    revision: str
    source: str
    licence: str | None
    sha256: str
    nbytes: int
    created: int
    installed: int
    int8_iou: float | None = None

    @property
    def owner(self) -> str:
        return self.name.partition("/")[0]

    @classmethod
    def read(cls, folder: Path) -> "Card | None":
        """The card of a model's folder; None if there is none or it is damaged."""
        try:
            document = json.loads((folder / FILE).read_bytes())
            return cls(**{field.name: document[field.name] for field in fields(cls) if field.name in document})
        except (OSError, ValueError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Write the card into a model's folder, replacing it atomically.

        Raises:
            OSError: it cannot be written.
        """
        draft = folder / f"{FILE}.part"
        with draft.open("w") as file:
            file.write(json.dumps(asdict(self), indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / FILE)
