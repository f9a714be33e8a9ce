"""An image's file to its embedding, timed."""

import time
from dataclasses import dataclass

from maskery.segmentation import Embedding, ImageFile, Model


@dataclass(frozen=True, eq=False)
class Encoded:
    """An embedding, and what it took.

    Attributes:
        decode_image: seconds from the file's bytes to pixels.
        encode: seconds from pixels to the embedding.
    """

    embedding: Embedding
    decode_image: float
    encode: float


def encode_file(model: Model, file: ImageFile) -> Encoded:
    """Decode the image and encode it, in the calling thread.

    Raises:
        NotAnImage: its pixels are damaged.
    """
    started = time.perf_counter()
    image = file.decode()
    decoded = time.perf_counter()
    embedding = model.encode(image)
    return Encoded(embedding, decoded - started, time.perf_counter() - decoded)
