"""The encoder: turns new images into embeddings, each once, however many requests ask for it."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from maskery import logs
from maskery.engine.cache import EmbeddingCache, Key
from maskery.engine.disk import Disk
from maskery.engine.encoder_client import EncoderClient
from maskery.engine.encoding import Encoded, EncodeRequest, encode_file
from maskery.engine.job import QuotaHook, Upload
from maskery.engine.lanes import Lanes
from maskery.engine.single_flight import SingleFlight
from maskery.engine.threads import Pools, run_in_thread
from maskery.segmentation import ImageFile, Model


@dataclass(eq=False)
class NewImage:
    """An image to encode for one request.

    Attributes:
        upload, file: the image; its header has been checked.
        key: of its embedding in the cache.
        account: whose place in the queue it takes.
        keep: its embedding in the cache.
        quota_hook: charges the quota.
        refusal: what the quota hook raised.
    """

    upload: Upload
    file: ImageFile
    key: Key
    account: str = ""
    quota_hook: QuotaHook | None = None
    keep: bool = True
    refusal: Exception | None = None


class Encoder:
    """Encodes images. For one event loop.

    Args:
        cache: embeddings are looked up and kept here.
        lanes: their slots limit the encodings at the same time.
        pools: their threads run models that encode in this process.
        client: the encoder process, for models that encode out of process. None: they encode in this process, too.
        disk: embeddings are written there, too.
    """

    def __init__(
        self,
        cache: EmbeddingCache,
        lanes: Lanes,
        pools: Pools,
        client: EncoderClient | None = None,
        disk: Disk | None = None,
    ) -> None:
        self.client = client
        self._disk = disk
        self._cache = cache
        self._lanes = lanes
        self._pools = pools
        self._single_flight: SingleFlight[Key, Encoded | None] = SingleFlight()

    async def encode(self, model: Model, image: NewImage) -> Encoded:
        """Encode an image and keep its embedding, or wait for a request that encodes the same image.

        Raises:
            Busy: the queue is full, or the encoder process ended.
            NotAnImage: the image data is damaged.
            Exception: what the quota hook raised.
        """
        while True:
            encoded, joined = await self._single_flight.do(image.key, partial(self._encode, model, image))
            if encoded:
                return Encoded(encoded.embedding) if joined else encoded
            # A refused quota concerns only the request that it belongs to. The others try again with their own.
            if image.refusal:
                raise image.refusal

    async def _encode(self, model: Model, image: NewImage, commit: Callable[[], None]) -> Encoded | None:
        """The embedding; None if the quota hook refused."""
        client = self.client if model.encode_out_of_process else None
        lane = self._lanes.encode if client else self._lanes.encode_inline
        async with lane.slot(image.account), AsyncExitStack() as charge:
            # From here on the request may be cancelled, but the encoding ends, is paid for and is kept.
            commit()
            if known := self._cache.peek(image.key):
                return Encoded(known)
            if image.quota_hook:
                try:
                    await charge.enter_async_context(image.quota_hook(image.file.size.pixels))
                except Exception as error:  # noqa: BLE001 - raised in `encode`
                    image.refusal = error
                    return None
            if client:
                upload = image.upload
                encoded = await client.encode(
                    EncodeRequest(model.name, model.revision, upload.exif, upload.data, logs.request_id.get())
                )
            else:
                encoded = await run_in_thread(self._pools.encode, partial(encode_file, model, image.file))
            if image.keep:
                self._cache.put(image.key, encoded.embedding)
                if self._disk:
                    self._disk.write(image.key, encoded.embedding)
            return encoded
