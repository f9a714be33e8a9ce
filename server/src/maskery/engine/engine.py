"""One process' worth of serving: a job goes its way through cache, lanes and threads."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from maskery import logs
from maskery.engine import warming
from maskery.engine.admission import Admission
from maskery.engine.cache import EmbeddingCache, Key
from maskery.engine.decoder import Decoder
from maskery.engine.encoder import Encoded, encode_file
from maskery.engine.encoder_client import EncoderProcess, Order
from maskery.engine.errors import CannotPrepare, NotPrepared
from maskery.engine.job import Job, QuotaHook, Reference, Upload
from maskery.engine.lanes import Lane
from maskery.engine.prepared import Prepared, PreparedImages
from maskery.engine.single_flight import SingleFlight
from maskery.engine.threads import run_in
from maskery.engine.timings import Timings
from maskery.models import Registry
from maskery.segmentation import (
    Embedding,
    ImageFile,
    ImageLimits,
    Model,
    ObjectPrompt,
    PromptLimits,
    Segmentation,
    assemble,
)

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class EngineLimits:
    """How much at a time.

    Attributes:
        image: what an image may weigh.
        prompt: how much may be asked of one.
        workers: calls that decode at the same time.
        max_requests: being answered or waiting for something.
        max_request_bytes: of the bodies of all of them.
        max_encodings: images that may wait for the encoder's process.
        cache_bytes: of kept embeddings.
        share_images: an embedding serves every account that sends the same file, not only the first.
        prepared_seconds: that a prepared image lives on after its last use.
    """

    image: ImageLimits
    prompt: PromptLimits
    workers: int
    max_requests: int
    max_request_bytes: int
    max_encodings: int
    cache_bytes: int
    share_images: bool
    prepared_seconds: float


class _NotPassed(Exception):  # noqa: N818
    """The toll of an image refused it, for the reason that is the cause."""


class Engine:
    """Answers jobs. For one event loop; what blocks is done in threads and in the encoder's process.

    Args:
        models: those that can be asked for.
        limits: how much at a time.
        encoder: encodes for models with a slow encoder; None: they encode in this process.
    """

    def __init__(self, models: Registry, limits: EngineLimits, encoder: EncoderProcess | None = None) -> None:
        self.models = models
        self.limits = limits
        self.encoder = encoder
        self.admission = Admission(limits.max_requests, limits.max_request_bytes)
        self.prepared = PreparedImages(limits.prepared_seconds)
        self.cache = EmbeddingCache(limits.cache_bytes, self.prepared.forget_key)
        #: By name. Images encoded by the process apart; those encoded here; calls that decode.
        self.lanes = {
            "encode": Lane(1, limits.max_encodings, "being encoded"),
            "encode_here": Lane(limits.workers, limits.max_encodings, "being encoded"),
            "decode": Lane(limits.workers),
        }
        self._threads = {
            name: ThreadPoolExecutor(limits.workers, thread_name_prefix=name)
            # Aside: short work that no lane counts. Loading a model takes seconds, for which nothing else shall wait.
            for name in ("encode", "decode", "aside", "load")
        }
        self.decoder = Decoder(self.lanes["decode"], self._threads["decode"])
        self._flights: SingleFlight[Key, Encoded] = SingleFlight()

    async def segment(
        self, job: Job, write: Callable[[Segmentation], Answer], timings: Timings | None = None
    ) -> Answer:
        """The answer in the form that `write` gives it, in a thread. Every check comes before the work it would waste.

        Raises:
            ModelNotInstalled, StoreError: the model is not on this machine, or its files are damaged.
            SegmentationError: the image or the prompt is wrong.
            NotPrepared: the image is one that the account has not prepared for this model, or no longer.
            Busy: too many images wait for the encoder, or it was lost in the middle of this one.
        """
        timings = timings or Timings()
        model = await self._model(job.model)
        if isinstance(job.image, Reference):
            embedding = self._referenced(job.image.id, job.account, model)
            timings.embedding = "known"
            objects = await self._check(job, embedding)
        else:
            embedding, objects = await self._uploaded(job, job.image, model, timings)
        asked = time.perf_counter()
        candidates, seconds = await self.decoder.decode(model, embedding, objects, job.account)
        timings.objects = len(objects)
        timings.add("decode", seconds)
        timings.add("wait", time.perf_counter() - asked - seconds)

        def finish() -> Answer:
            with timings.stage("compose"):
                segmentation = assemble(candidates, embedding, objects, job.options)
            with timings.stage("write"):
                return write(segmentation)

        return await self.aside(finish)

    async def prepare(
        self,
        model_name: str,
        image: Upload,
        account: str,
        timings: Timings | None = None,
        quota_hook: QuotaHook | None = None,
    ) -> Prepared:
        """Have an image's embedding at hand, under an id. Errors as of `segment`, and:

        Raises:
            CannotPrepare: the cache is smaller than this embedding.
        """
        timings = timings or Timings()
        model = await self._model(model_name)
        key = self._key(model, image, account)
        embedding = self._known(key, timings)
        if embedding is None:
            file = await self.aside(lambda: self._open(image))
            embedding = await self._encode(model, file, image, key, account, timings, quota_hook)
        if key not in self.cache:
            raise CannotPrepare(
                f"an embedding of {model.name} has {embedding.nbytes:,} bytes; only {self.cache.max_bytes:,} are kept: "
                "raise MASKERY_CACHE_BYTES"
            )
        return self.prepared.add(account, key, embedding.size)

    def discard(self, image_id: str, account: str) -> None:
        """Forget a prepared image, and its embedding unless something else may use it.

        Raises:
            NotPrepared: the account has none of this id, or no longer.
        """
        prepared = self.prepared.get(image_id, account)
        if self.prepared.remove(prepared) and not self.limits.share_images:
            self.cache.remove(prepared.key)

    async def warm(self, model_name: str) -> Callable[[], Awaitable[None]]:
        """Load a model and let it run once, so that the first request does not wait for that.

        Returns:
            What has it run on the other images and prompts that it is compiled for; that need not be waited for.

        Raises:
            ModelNotInstalled, StoreError, Busy: as of `segment`.
        """
        if self.encoder and not self.models.is_built_in(model_name):
            # It comes up while the model is loaded here.
            await asyncio.gather(self.encoder.start(), self._model(model_name))
        model = await self._model(model_name)

        async def encode(proportion: float) -> Embedding:
            image = Upload(warming.image(self.limits.image.max_pixels, proportion))
            key = self._key(model, image, account="")
            embedding = await self._encode(model, self._open(image), image, key, "", Timings())
            self.cache.remove(key)
            return embedding

        async def decode(embedding: Embedding, objects: tuple[ObjectPrompt, ...]) -> None:
            candidates, _ = await self.decoder.decode(model, embedding, objects)
            await self.aside(partial(assemble, candidates, embedding, objects))

        usual, *others = model.proportions
        first = await encode(usual)
        prompts = warming.prompts(first.size)
        await decode(first, next(prompts))

        async def run_others() -> None:
            for proportion in others:
                embedding = await encode(proportion)
                for objects in warming.prompts(embedding.size, (1,)):
                    await decode(embedding, objects)
            for objects in prompts:
                await decode(first, objects)

        return run_others

    async def aside(self, work: Callable[[], Answer]) -> Answer:
        """Short blocking work, off the event loop."""
        return await run_in(self._threads["aside"], work)

    async def close(self) -> None:
        """End the encoder's process and the threads. Nothing may be asked after this.

        A thread in the middle of a call ends with the call, which nobody waits for.
        """
        if self.encoder:
            await self.encoder.close()
        for pool in self._threads.values():
            pool.shutdown(wait=False, cancel_futures=True)

    async def _model(self, name: str) -> Model:
        loaded = self.models.get_loaded(name)
        return loaded if loaded else await run_in(self._threads["load"], lambda: self.models.get(name))

    def _key(self, model: Model, image: Upload, account: str) -> Key:
        return Key("" if self.limits.share_images else account, image.digest, model.name, model.revision)

    def _open(self, image: Upload) -> ImageFile:
        return ImageFile(image.data, image.exif, self.limits.image)

    def _known(self, key: Key, timings: Timings) -> Embedding | None:
        embedding = self.cache.get(key)
        if embedding:
            timings.embedding = "known"
        return embedding

    def _referenced(self, image_id: str, account: str, model: Model) -> Embedding:
        prepared = self.prepared.get(image_id, account)
        key = prepared.key
        if (key.model, key.revision) != (model.name, model.revision):
            raise NotPrepared(f"image {image_id!r} was prepared for {key.model}, as it was then: send it again")
        embedding = self.cache.get(key)
        # An id is forgotten with its embedding.
        assert embedding  # noqa: S101
        return embedding

    async def _check(self, job: Job, embedding: Embedding) -> tuple[ObjectPrompt, ...]:
        return await self.aside(lambda: job.prompt.check(embedding.size, self.limits.prompt))

    async def _uploaded(
        self, job: Job, image: Upload, model: Model, timings: Timings
    ) -> tuple[Embedding, tuple[ObjectPrompt, ...]]:
        """The embedding of an image that was sent, and the prompt checked against its size."""
        key = self._key(model, image, job.account)
        embedding = self._known(key, timings)
        if embedding:
            return embedding, await self._check(job, embedding)

        def read() -> tuple[ImageFile, tuple[ObjectPrompt, ...]]:
            file = self._open(image)
            return file, job.prompt.check(file.size, self.limits.prompt)

        file, objects = await self.aside(read)
        return await self._encode(model, file, image, key, job.account, timings, job.quota_hook), objects

    async def _encode(
        self,
        model: Model,
        file: ImageFile,
        image: Upload,
        key: Key,
        account: str,
        timings: Timings,
        quota_hook: QuotaHook | None = None,
    ) -> Embedding:
        """One encoding, for all who ask for this image now; kept for those who ask later."""
        asked = time.perf_counter()
        apart = self.encoder if model.slow_encoder else None

        async def work() -> Encoded:
            known = self.cache.peek(key)
            if known:
                return Encoded(known, 0.0, 0.0)
            if apart:
                order = Order(model.name, model.revision, image.exif, image.data, logs.request_id.get())
                encoded = await apart.encode(order)
            else:
                encoded = await run_in(self._threads["encode"], lambda: encode_file(model, file))
            self.cache.put(key, encoded.embedding)
            return encoded

        lane = self.lanes["encode" if apart else "encode_here"]

        async def pass_and_work() -> Encoded:
            if not quota_hook or key in self.cache:
                return await lane.run(work, account)
            try:
                refund = await quota_hook(file.size.pixels)
            except Exception as error:
                raise _NotPassed from error
            try:
                return await lane.run(work, account)
            except Exception:
                await refund()
                raise

        while True:
            is_first = key not in self._flights
            try:
                encoded = await self._flights.join(key, pass_and_work)
                break
            except _NotPassed as refusal:
                # Whoever only joined in may do better with a toll of their own.
                if is_first and refusal.__cause__:
                    raise refusal.__cause__ from None
        # Another request may have made it just before this one's turn came.
        made_here = is_first and encoded.encode > 0
        timings.embedding = "new" if made_here else "shared"
        spent = 0.0
        if made_here:
            timings.pixels = file.size.pixels
            timings.add("decode_image", encoded.decode_image)
            timings.add("encode", encoded.encode)
            spent = encoded.decode_image + encoded.encode
        timings.add("wait", time.perf_counter() - asked - spent)
        return encoded.embedding
