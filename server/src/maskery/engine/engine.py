"""The engine: embed the image, decode the prompt, compose the masks."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from maskery.engine.admission import Admission
from maskery.engine.automatic import Automatic
from maskery.engine.cache import EmbeddingCache, Key
from maskery.engine.candidates import CandidateCache, KeyedPrompt
from maskery.engine.decoder import Decoder
from maskery.engine.disk import Disk
from maskery.engine.disk_cache import DiskCache
from maskery.engine.encoder import Encoder, NewImage
from maskery.engine.encoder_client import EncoderClient
from maskery.engine.errors import CannotPrepare, NotPrepared
from maskery.engine.job import Job, ModelRegistry, QuotaHook, Reference, Upload
from maskery.engine.lanes import Lanes
from maskery.engine.prepared import Prepared, PreparedImages
from maskery.engine.prepared_files import PreparedFiles
from maskery.engine.threads import Pools, run_in_thread
from maskery.engine.timings import Timings
from maskery.segmentation import (
    AutomaticOptions,
    Candidates,
    Embedding,
    ImageFile,
    ImageLimits,
    Model,
    PromptLimits,
    Segmentation,
    Size,
    assemble,
)

Result = TypeVar("Result")


@dataclass(frozen=True)
class EngineLimits:
    """Limits of an engine.

    Attributes:
        image: on an image's file.
        prompt: on a prompt.
        workers: calls of `Model.decode` at the same time.
        max_requests: running or queued.
        max_request_bytes: of the bodies of all requests.
        max_encodings: images in the queue of the encoder process.
        cache_bytes: of embeddings.
        candidate_bytes: of the candidates of objects on these embeddings.
        share_images: an embedding serves all accounts that send the same file, not only the first.
        prepared_seconds: time to live of a prepared image after its last use. The cache evicts embeddings that were
            not used for longer first.
        automatic_seconds: for everything in one image, once that is encoded.
    """

    image: ImageLimits
    prompt: PromptLimits
    workers: int
    max_requests: int
    max_request_bytes: int
    max_encodings: int
    cache_bytes: int
    candidate_bytes: int
    share_images: bool
    prepared_seconds: float
    automatic_seconds: float


@dataclass(frozen=True, eq=False)
class _Embedded:
    """The embedding of a request's image, and its key in the cache."""

    key: Key
    embedding: Embedding


class Engine:
    """Runs jobs. For one event loop; blocking work runs in threads and in the encoder process.

    Args:
        models: that jobs can name.
        limits: of the engine.
        client: the encoder process, for models that encode out of process. None: they encode in this process, too.
        disk_cache: embeddings that are not in memory are looked up here.

    Raises:
        OSError: the folder of the disk cache cannot be used.
    """

    def __init__(
        self,
        models: ModelRegistry,
        limits: EngineLimits,
        client: EncoderClient | None = None,
        disk_cache: DiskCache | None = None,
    ) -> None:
        self.limits = limits
        self.admission = Admission(limits.max_requests, limits.max_request_bytes)
        self.prepared = PreparedImages(limits.prepared_seconds)
        self.cache = EmbeddingCache(limits.cache_bytes, limits.prepared_seconds, self._on_evicted)
        self.candidates = CandidateCache(limits.candidate_bytes, limits.prepared_seconds)
        self.lanes = Lanes.of(limits.workers, limits.max_encodings)
        self._pools = Pools.start(limits.workers)
        self.disk: Disk | None = None
        if disk_cache is not None:
            prepared_files = PreparedFiles(disk_cache.folder.parent, limits.prepared_seconds)
            self.disk = Disk(disk_cache, prepared_files, self._pools)
        self.encoder = Encoder(self.cache, self.lanes, self._pools, client, self.disk)
        self.decoder = Decoder(self.lanes.decode, self._pools.decode)
        self._automatic = Automatic(self.decoder, self._pools, limits.automatic_seconds)
        self._models = models

    async def segment(
        self, job: Job, write: Callable[[Segmentation], Result], timings: Timings | None = None
    ) -> Result:
        """Segment an image. Image and prompt are checked before any expensive work.

        Args:
            write: called with the masks, in a thread; its result is returned.
            timings: filled in.

        Raises:
            ModelNotInstalled, StoreError: the model is not on this machine, or its files are damaged.
            SegmentationError: the image or the prompt is invalid.
            NotPrepared: the account has no such prepared image for this model, or it has expired.
            Busy: the encoding queue is full, or the encoder process ended during this image.
            DeadlineExceeded: finding everything in the image took too long.
            Exception: what the quota hook raised.
        """
        timings = timings or Timings()
        model = await self.load(job.model)
        automatic = job.prompt.resolve(model, self.limits.prompt) if isinstance(job.prompt, AutomaticOptions) else None
        image, objects = await self._embed(model, job, timings)
        if automatic:
            everything = await self._automatic.segment(
                model, image.embedding, automatic, job.options.size, job.account, timings
            )

            def write_everything() -> Result:
                with timings.stage("write"):
                    return write(everything)

            return await self.run_in_thread(write_everything)
        candidates = await self._decode(model, image, objects, job.account, timings)

        def compose() -> Result:
            with timings.stage("compose"):
                prompts = [each.prompt for each in objects]
                segmentation = assemble(candidates, image.embedding, prompts, job.options)
            with timings.stage("write"):
                return write(segmentation)

        return await self.run_in_thread(compose)

    async def prepare(
        self,
        model_name: str,
        upload: Upload,
        account: str,
        timings: Timings | None = None,
        quota_hook: QuotaHook | None = None,
    ) -> Prepared:
        """Encode an image ahead; the account's id for its embedding.

        Raises:
            CannotPrepare: the embedding is larger than the cache. Other errors are those of `segment`.
        """
        timings = timings or Timings()
        model = await self.load(model_name)
        key = self.key(model, upload, account)
        embedding = await self._cached(key, timings)
        if embedding is None:
            file = await self.run_in_thread(partial(self.open, upload))
            embedding = await self._encode(model, NewImage(upload, file, key, account, quota_hook), timings)
        # Other images may have evicted it meanwhile.
        if key not in self.cache:
            self.cache.put(key, embedding)
        if key not in self.cache:
            raise CannotPrepare(
                f"an embedding of {model.name} has {embedding.nbytes:,} bytes, and the cache {self.cache.max_bytes:,}: "
                "raise MASKERY_CACHE_BYTES"
            )
        prepared = self.prepared.add(account, key, embedding.size)
        if self.disk:
            await self.disk.write_prepared(prepared)
        return prepared

    async def show(self, image_id: str, account: str) -> Prepared:
        """A prepared image. This is a use: it expires later.

        Raises:
            NotPrepared: the account has no prepared image with this id, or it has expired.
        """
        return await self._find_prepared(image_id, account, Timings())

    async def discard(self, image_id: str, account: str) -> None:
        """Remove a prepared image, and its embedding unless accounts share that.

        Raises:
            NotPrepared: the account has no prepared image with this id, or it has expired.
        """
        prepared = await self._find_prepared(image_id, account, Timings())
        self.prepared.remove(image_id)
        if self.disk:
            self.disk.remove_prepared(prepared)
        if not self.limits.share_images:
            self.cache.remove(prepared.key)
            if self.disk:
                self.disk.remove(prepared.key)

    async def load(self, name: str) -> Model:
        """The model of this name or alias, loaded if necessary.

        Raises:
            ModelNotInstalled, StoreError: the model is not on this machine, or its files are damaged.
        """
        # In a thread: the registry reads a file to see whether the model was replaced.
        loaded = await self.run_in_thread(partial(self._models.get_loaded, name))
        return loaded if loaded else await run_in_thread(self._pools.load, partial(self._models.get, name))

    def open(self, upload: Upload) -> ImageFile:
        """Read the header of an image and check it against the limits."""
        return ImageFile(upload.data, upload.exif, self.limits.image)

    def key(self, model: Model, upload: Upload, account: str) -> Key:
        """The key of an image's embedding in the cache."""
        return self._key(account, upload.digest, model.name, model.revision)

    async def run_in_thread(self, function: Callable[[], Result]) -> Result:
        """Call a function that blocks for a short time."""
        return await run_in_thread(self._pools.cpu, function)

    async def close(self) -> None:
        """End the encoder process and the threads. A thread that is in a model's call ends after that."""
        if self.encoder.client:
            await self.encoder.client.close()
        if self.disk:
            await self.disk.close()
        self._pools.shutdown()

    async def _embed(self, model: Model, job: Job, timings: Timings) -> tuple[_Embedded, Sequence[KeyedPrompt]]:
        """The embedding of the image, and the prompt's objects, which are checked before the image is encoded."""
        image = job.image
        if isinstance(image, Reference):
            known = await self._prepared_embedding(image.id, job.account, model, timings)
            return known, await self._check(job, known.embedding.size)
        key = self.key(model, image, job.account)
        cached = await self._cached(key, timings)
        if cached:
            return _Embedded(key, cached), await self._check(job, cached.size)
        file = await self.run_in_thread(partial(self.open, image))
        objects = await self._check(job, file.size)
        new = NewImage(image, file, key, job.account, job.quota_hook)
        return _Embedded(key, await self._encode(model, new, timings)), objects

    async def _check(self, job: Job, size: Size) -> Sequence[KeyedPrompt]:
        prompt = job.prompt
        if isinstance(prompt, AutomaticOptions):
            return ()

        def check() -> Sequence[KeyedPrompt]:
            return [KeyedPrompt.of(each) for each in prompt.check(size, self.limits.prompt)]

        return await self.run_in_thread(check)

    def _key(self, account: str, digest: str, model: str, revision: str) -> Key:
        return Key("" if self.limits.share_images else account, digest, model, revision)

    async def _cached(self, key: Key, timings: Timings) -> Embedding | None:
        """The embedding from memory, or from disk."""
        embedding = self.cache.get(key)
        if embedding:
            timings.embedding = "known"
            if self.disk:
                self.disk.touch(key)
        elif self.disk:
            started = time.perf_counter()
            embedding = await self.disk.read(key, partial(self._keep, key))
            timings.add("wait", started, time.perf_counter() - started)
            if embedding:
                timings.embedding = "disk"
        return embedding

    def _keep(self, key: Key, embedding: Embedding) -> Embedding:
        """Put an embedding from disk into memory, unless another request has done so: those of one share calls."""
        known = self.cache.peek(key)
        if known is None:
            self.cache.put(key, embedding)
        return known or embedding

    async def _prepared_embedding(self, image_id: str, account: str, model: Model, timings: Timings) -> _Embedded:
        prepared = await self._find_prepared(image_id, account, timings)
        key = prepared.key
        if (key.model, key.revision) != (model.name, model.revision):
            changed = ", which has been replaced since" if key.model == model.name else ""
            raise NotPrepared(f"image {image_id!r} was prepared for {key.model}{changed}: send it again")
        embedding = self.cache.peek(key) if timings.embedding == "disk" else await self._cached(key, timings)
        # An id is removed with its embedding.
        assert embedding  # noqa: S101
        return _Embedded(key, embedding)

    async def _find_prepared(self, image_id: str, account: str, timings: Timings) -> Prepared:
        """An account's prepared image, of which this server or another one with the same folder has made the id.

        Its embedding is in the cache until the next await.

        Raises:
            NotPrepared: there is none with this id, it has expired, or its embedding is gone.
        """
        try:
            prepared = self.prepared.get(image_id, account)
        except NotPrepared:
            record = await self.disk.read_prepared(image_id, account) if self.disk else None
            if not record:
                raise
            key = self._key(account, record.digest, record.model, record.revision)
            embedding = await self._cached(key, timings)
            if not embedding or key not in self.cache:
                raise
            prepared = Prepared(image_id, account, key, embedding.size, record.created)
            self.prepared.restore(prepared)
        else:
            if self.disk:
                self.disk.touch_prepared(prepared)
        self.cache.touch(prepared.key)
        return prepared

    async def _encode(self, model: Model, image: NewImage, timings: Timings) -> Embedding:
        started = time.perf_counter()
        encoded = await self.encoder.encode(model, image)
        waited = time.perf_counter() - started - encoded.seconds
        timings.add("wait", started, waited)
        timings.embedding = "new" if encoded.seconds else "shared"
        if encoded.seconds:
            timings.pixels = image.file.size.pixels
            timings.add("decode_image", started + waited, encoded.decode_image)
            timings.add("encode", started + waited + encoded.decode_image, encoded.encode)
        return encoded.embedding

    async def _decode(
        self, model: Model, image: _Embedded, objects: Sequence[KeyedPrompt], account: str, timings: Timings
    ) -> list[Candidates]:
        """The candidates of each object, of which only those that are not in the cache are decoded."""
        known = [self.candidates.find(image.key, each) for each in objects]
        missing = [each for each, found in zip(objects, known, strict=True) if found is None]
        timings.objects, timings.known_objects = len(objects), len(objects) - len(missing)
        decoded = iter(await self._decode_missing(model, image, missing, account, timings) if missing else ())
        return [next(decoded) if found is None else found for found in known]

    async def _decode_missing(
        self, model: Model, image: _Embedded, missing: Sequence[KeyedPrompt], account: str, timings: Timings
    ) -> list[Candidates]:
        started = time.perf_counter()
        prompts = [each.prompt for each in missing]
        earlier = [self.candidates.find_earlier(image.key, each) for each in missing]
        candidates, seconds = await self.decoder.decode(model, image.embedding, prompts, account, earlier)
        waited = time.perf_counter() - started - seconds
        timings.add("wait", started, waited)
        timings.add("decode", started + waited, seconds)
        # Candidates leave the cache with their embedding, which may have been evicted or replaced in the meantime.
        if self.cache.peek(image.key) is not image.embedding:
            return candidates
        return [self.candidates.add(image.key, *each) for each in zip(missing, candidates, strict=True)]

    def _on_evicted(self, key: Key) -> None:
        self.prepared.remove_key(key)
        self.candidates.remove_embedding(key)
