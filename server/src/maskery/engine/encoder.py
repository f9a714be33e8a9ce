"""A picture's file to its embedding, timed."""

import time
from dataclasses import dataclass

from maskery.segmentation import Embedding, Model, PictureFile


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


def encode_file(model: Model, file: PictureFile) -> Encoded:
    """Decode the picture and encode it, in the calling thread.

    Raises:
        NotAPicture: its pixels are damaged.
    """
    started = time.perf_counter()
    picture = file.decode()
    decoded = time.perf_counter()
    embedding = model.encode(picture)
    return Encoded(embedding, decoded - started, time.perf_counter() - decoded)
