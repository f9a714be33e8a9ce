"""The encoder: each image is encoded once, and the quota is charged for exactly what is encoded."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any

import numpy as np
import pytest
from engine.parts import Plain, embedding, settle
from hypothesis import given
from hypothesis import strategies as st
from samples import png

from maskery.engine import Busy, NewImage, QuotaHook, Upload
from maskery.engine.cache import EmbeddingCache, Key
from maskery.engine.encoder import Encoder
from maskery.engine.encoding import Encoded, EncodeRequest
from maskery.engine.lanes import Lane, Lanes
from maskery.engine.threads import Pools
from maskery.segmentation import ImageFile

MODEL = Plain(encode_out_of_process=True)


class OverQuota(Exception):  # noqa: N818
    """What a quota hook raises."""


class Process:
    """An encoder process whose encodings end, or fail, when the test says so.

    Attributes:
        running: number of encodings by image.
        encoded: successful encodings by image.
    """

    def __init__(self) -> None:
        self.running: Counter[bytes] = Counter()
        self.encoded: Counter[bytes] = Counter()
        self._ends: deque[asyncio.Future[None]] = deque()

    async def encode(self, request: EncodeRequest) -> Encoded:
        self.running[request.data] += 1
        assert self.running[request.data] == 1, "an image is encoded twice at the same time"
        end = asyncio.get_running_loop().create_future()
        self._ends.append(end)
        try:
            await end
        finally:
            self.running[request.data] -= 1
        self.encoded[request.data] += 1
        return Encoded(embedding(request.data[-1]), 0.1, 0.2)

    def end(self, error: Exception | None = None) -> None:
        """End the encoding that began first."""
        if self._ends:
            end = self._ends.popleft()
            if error:
                end.set_exception(error)
            else:
                end.set_result(None)


class Quota:
    """Counts the pixels that are charged. Charging takes steps of the event loop, as with Redis."""

    def __init__(self) -> None:
        self.charged = 0

    def hook(self, refuses: bool = False) -> QuotaHook:
        def charge(pixels: int) -> AbstractAsyncContextManager[None]:
            return self._charge(pixels, refuses)

        return charge

    @asynccontextmanager
    async def _charge(self, pixels: int, refuses: bool) -> AsyncIterator[None]:
        await asyncio.sleep(0)
        if refuses:
            raise OverQuota
        self.charged += pixels
        await asyncio.sleep(0)
        try:
            yield
        except BaseException:
            await asyncio.sleep(0)
            self.charged -= pixels
            raise


@cache
def new_image(number: int) -> tuple[Upload, ImageFile]:
    # The pixels of each image are another power of two: their sum says which were charged.
    data = png(np.zeros((1, 2**number, 3), np.uint8)) + bytes([number])
    return Upload(data), ImageFile(data)


class Scene:
    """An encoder and the requests that a test makes of it."""

    def __init__(self, slots: int = 1, max_waiting: int = 100, cache_bytes: int = 1000) -> None:
        self.process, self.quota = Process(), Quota()
        lanes = Lanes(Lane(slots, max_waiting, "encoding"), Lane(1), Lane(1))
        pools: Any = Pools(*[ThreadPoolExecutor(1)] * 6)
        client: Any = self.process
        self.cache = EmbeddingCache(cache_bytes, 60)
        self.encoder = Encoder(self.cache, lanes, pools, client)
        self.lane = lanes.encode
        self.requests: list[asyncio.Task[Encoded]] = []

    def request(self, number: int, refuses: bool = False) -> asyncio.Task[Encoded]:
        upload, file = new_image(number)
        image = NewImage(upload, file, Key("", upload.digest, MODEL.name, "1"), "team", self.quota.hook(refuses))
        self.requests.append(asyncio.create_task(self.encoder.encode(MODEL, image), name=str(number)))
        return self.requests[-1]

    @property
    def encoded(self) -> int:
        """Pixels of the images that were encoded."""
        return sum(times * ImageFile(data).size.pixels for data, times in self.process.encoded.items())

    async def finish(self) -> None:
        """End all encodings."""
        await settle()
        while self.lane.running:
            self.process.end()
            await settle()
        await asyncio.gather(*self.requests, return_exceptions=True)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_request_cancelled_in_the_queue_is_not_charged(scene: Scene) -> None:
    scene.request(0)
    await settle()
    leaving = scene.request(1)
    await settle()
    leaving.cancel()
    await scene.finish()
    assert scene.quota.charged == scene.encoded == 1


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("cache_bytes", [1000, 0])
async def test_a_retry_of_an_abandoned_encoding_is_charged_once(slots: int, cache_bytes: int) -> None:
    scene = Scene(slots, cache_bytes=cache_bytes)
    leaving = scene.request(3)
    await settle()
    leaving.cancel()
    await settle()
    retry = scene.request(3)
    await scene.finish()
    assert retry.result().seconds == 0, "it was encoded by another request"
    assert scene.quota.charged == scene.encoded == 8


async def test_a_request_cancelled_while_it_is_charged_is_encoded_and_paid(scene: Scene) -> None:
    leaving = scene.request(2)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    leaving.cancel()
    await scene.finish()
    assert scene.quota.charged == scene.encoded == 4


async def test_a_failed_encoding_is_refunded_and_fails_all_requests(scene: Scene) -> None:
    requests = [scene.request(0) for _ in range(3)]
    await settle()
    scene.process.end(ValueError("damaged"))
    await scene.finish()
    assert [str(request.exception()) for request in requests] == ["damaged"] * 3
    assert scene.quota.charged == scene.encoded == 0


async def test_an_image_in_the_cache_is_not_charged(scene: Scene) -> None:
    first = scene.request(5)
    await scene.finish()
    second = scene.request(5, refuses=True)
    await scene.finish()
    assert second.result().embedding is first.result().embedding
    assert scene.quota.charged == scene.encoded == 32


async def test_a_refused_quota_fails_only_the_request_that_it_belongs_to(scene: Scene) -> None:
    refused = [scene.request(0, refuses=True) for _ in range(2)]
    allowed = [scene.request(0) for _ in range(2)]
    await scene.finish()
    assert isinstance(refused[0].exception(), OverQuota)
    assert all(request.exception() is None for request in allowed)
    assert scene.quota.charged == scene.encoded == 1


async def test_a_request_refused_by_the_queue_is_not_charged() -> None:
    scene = Scene(max_waiting=0)
    scene.request(0)
    await settle()
    refused = scene.request(1)
    await scene.finish()
    assert isinstance(refused.exception(), Busy)
    assert scene.quota.charged == scene.encoded == 1


NUMBERS = st.integers(0, 3)
ACTIONS = st.one_of(
    st.tuples(st.just("request"), NUMBERS),
    st.tuples(st.just("refused request"), NUMBERS),
    st.tuples(st.just("cancel"), st.integers(0, 50)),
    st.tuples(st.just("end"), st.just(0)),
    st.tuples(st.just("fail"), st.just(0)),
    st.tuples(st.just("steps"), st.integers(1, 4)),
    st.tuples(st.just("settle"), st.just(0)),
)


@given(
    actions=st.lists(ACTIONS, max_size=40),
    slots=st.integers(1, 3),
    max_waiting=st.sampled_from([2, 100]),
    cache_bytes=st.sampled_from([0, 128, 1000]),
)
def test_the_pixels_charged_are_those_encoded_whatever_is_cancelled_joined_or_fails(
    actions: list[tuple[str, int]], slots: int, max_waiting: int, cache_bytes: int
) -> None:
    async def run() -> None:
        scene = Scene(slots, max_waiting, cache_bytes)
        for action, number in actions:
            match action:
                case "request" | "refused request":
                    scene.request(number, refuses=action != "request")
                case "cancel" if scene.requests:
                    scene.requests[number % len(scene.requests)].cancel()
                case "end":
                    scene.process.end()
                case "fail":
                    scene.process.end(ValueError("failed"))
                case "steps":
                    for _ in range(number):
                        await asyncio.sleep(0)
                case "settle":
                    await settle()
        await scene.finish()
        assert scene.quota.charged == scene.encoded
        assert (scene.lane.running, scene.lane.waiting) == (0, 0)
        for request in scene.requests:
            if request.cancelled():
                continue
            if (error := request.exception()) is None:
                assert request.result().embedding.arrays["corner"][0] == int(request.get_name())
            else:
                assert isinstance(error, (OverQuota, ValueError, Busy)), error

    asyncio.run(run())
