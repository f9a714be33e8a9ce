"""Everything in an image, found batch by batch: prompts of other requests are decoded in between."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from maskery.engine.decoder import Decoder
from maskery.engine.errors import DeadlineExceeded
from maskery.engine.threads import Pools, run_in_thread
from maskery.engine.timings import Timings
from maskery.segmentation import (
    Candidates,
    Decoding,
    Embedding,
    Model,
    ObjectPrompt,
    Segmentation,
    Size,
    Usage,
)
from maskery.segmentation.automatic import BATCH, Layers, Proposals, ResolvedOptions, Search, batches


class Automatic:
    """Segments everything in images. For one event loop.

    Its candidates do not enter the cache of candidates: those of one grid would fill it.

    Args:
        seconds: the time limit of one image, from its embedding to its mask.
    """

    def __init__(self, decoder: Decoder, pools: Pools, seconds: float) -> None:
        self._decoder = decoder
        self._pools = pools
        self._seconds = seconds

    async def segment(
        self,
        model: Model,
        embedding: Embedding,
        options: ResolvedOptions,
        size: Size | None,
        account: str,
        timings: Timings,
    ) -> Segmentation:
        """As `maskery.segmentation.segment_everything`. No batch is decoded after it is cancelled.

        Raises:
            DeadlineExceeded: it took too long.
        """
        try:
            async with asyncio.timeout(self._seconds) as limit:
                return await self._segment(model, embedding, options, size, account, timings)
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeadlineExceeded(
                f"everything in this image was not found within {self._seconds:g} seconds, "
                f"MASKERY_AUTOMATIC_TIMEOUT: set automatic.points_per_side below {options.points_per_side}"
            ) from None

    async def _segment(
        self,
        model: Model,
        embedding: Embedding,
        options: ResolvedOptions,
        size: Size | None,
        account: str,
        timings: Timings,
    ) -> Segmentation:
        async def decode(model: Decoding, prompts: Sequence[ObjectPrompt]) -> list[Candidates]:
            started = time.perf_counter()
            candidates, seconds = await self._decoder.decode(model, embedding, prompts, account)
            waited = time.perf_counter() - started - seconds
            timings.add("wait", started, waited)
            timings.add("decode", started + waited, seconds)
            return candidates

        batch = min(model.max_batch, BATCH)
        grid, search = options.grid(embedding.size), Search(embedding.size, options)
        proposals = Proposals(model)
        for prompts in batches(grid, batch):
            found = await decode(proposals, prompts)
            with timings.stage("compose"):
                await run_in_thread(self._pools.cpu, partial(search.add, prompts, found))
        chosen = search.choose()
        layers = Layers(size or embedding.size, options.min_area, len(chosen))
        for part in batches(chosen, batch):
            found = await decode(model, [each.prompt for each in part])
            with timings.stage("compose"):
                await run_in_thread(self._pools.cpu, partial(layers.paint, part, found))
        with timings.stage("compose"):
            mask = await run_in_thread(self._pools.cpu, layers.mask)
        timings.objects = len(mask.segments)
        return Segmentation((mask,), Usage(embedding.tokens, len(grid), search.decoded))
