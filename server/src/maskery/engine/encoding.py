"""The encoder's input and output, which pass between the server process and the encoder process."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from maskery.engine.job import ModelRegistry
from maskery.logs import LogFormat
from maskery.segmentation import Embedding, Exif, ImageFile, ImageLimits, Model


@dataclass(frozen=True)
class EncoderOptions:
    """Configuration of the encoder process. It is pickled.

    Attributes:
        open_registry: called in the encoder process, which loads its own models.
        image_limits: limits on an image's file.
        log_level, log_format: see `maskery.logs.configure`.
    """

    open_registry: Callable[[], ModelRegistry]
    image_limits: ImageLimits
    log_level: str
    log_format: LogFormat


@dataclass(frozen=True)
class EncodeRequest:
    """An image for the encoder process.

    Attributes:
        model: name of the model, not an alias.
        revision: of the model, as the server process has loaded it.
        exif: see `ImageFile`.
        data: the file's bytes.
        request_id: for the log of the encoder process.
    """

    model: str
    revision: str
    exif: Exif
    data: bytes
    request_id: str


@dataclass(frozen=True, eq=False)
class Encoded:
    """An embedding, and the time that this request spent to compute it: none if another request did.

    Attributes:
        decode_image: seconds from the file's bytes to pixels.
        encode: seconds from pixels to the embedding.
    """

    embedding: Embedding
    decode_image: float = 0.0
    encode: float = 0.0

    @property
    def seconds(self) -> float:
        return self.decode_image + self.encode


def encode_file(model: Model, file: ImageFile) -> Encoded:
    """Decode and encode an image in the calling thread.

    Raises:
        NotAnImage: the image data is damaged.
    """
    started = time.perf_counter()
    image = file.decode()
    decoded = time.perf_counter()
    embedding = model.encode(image)
    return Encoded(embedding, decoded - started, time.perf_counter() - decoded)
