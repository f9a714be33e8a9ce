"""The cache of embeddings: what it keeps, what it evicts, and what it reports."""

from types import SimpleNamespace

import pytest
from engine.parts import Clock, embedding, stop_clock
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from maskery.engine.cache import EmbeddingCache, Key
from maskery.segmentation import Embedding


def key(name: str, owner: str = "") -> Key:
    return Key(owner, name, "model", "1")


def sized(nbytes: int) -> Embedding:
    return embedding(0, nbytes=nbytes)


def test_the_least_recently_used_is_evicted() -> None:
    removed: list[Key] = []
    cache = EmbeddingCache(300, 60, removed.append)
    kept = {name: sized(100) for name in "abc"}
    for name, each in kept.items():
        cache.put(key(name), each)
    assert cache.get(key("a")) is kept["a"]
    cache.put(key("d"), sized(100))
    assert removed == [key("b")]
    cache.put(key("e"), sized(150))
    assert removed == [key("b"), key("c"), key("a")]
    assert key("d") in cache
    assert key("a") not in cache
    assert (len(cache), cache.nbytes) == (2, 250)


def test_peeking_does_not_count_as_a_use() -> None:
    cache = EmbeddingCache(200, 60)
    cache.put(key("a"), sized(100))
    cache.put(key("b"), sized(100))
    assert cache.peek(key("a"))
    assert cache.peek(key("x")) is None
    cache.put(key("c"), sized(100))
    assert key("a") not in cache
    assert (cache.hits, cache.misses) == (0, 0)


def test_an_embedding_larger_than_the_cache_is_not_kept_and_evicts_nothing() -> None:
    removed: list[Key] = []
    cache = EmbeddingCache(300, 60, removed.append)
    cache.put(key("a"), sized(300))
    cache.put(key("large"), sized(301))
    assert key("large") not in cache
    assert key("a") in cache
    assert removed == []
    assert cache.evictions == 0


def test_a_cache_of_no_bytes_keeps_nothing() -> None:
    cache = EmbeddingCache(0, 60)
    cache.put(key("a"), sized(1))
    assert cache.get(key("a")) is None
    assert (len(cache), cache.nbytes) == (0, 0)


def test_hits_misses_and_evictions_are_counted_and_removals_are_not() -> None:
    cache = EmbeddingCache(250, 60)
    for name in "abc":
        cache.put(key(name), sized(100))
    for name in "abbx":
        cache.get(key(name))
    cache.remove(key("b"))
    cache.remove(key("b"))
    assert (cache.hits, cache.misses) == (2, 2)
    assert (cache.evictions, cache.evicted_bytes) == (1, 100)
    assert (len(cache), cache.nbytes) == (1, 100)


def test_an_embedding_put_again_is_replaced_and_not_reported_as_removed() -> None:
    """Ids of an image must stay valid when two requests have encoded it."""
    removed: list[Key] = []
    cache = EmbeddingCache(300, 60, removed.append)
    cache.put(key("a"), sized(100))
    cache.put(key("b"), sized(100))
    newer = sized(150)
    cache.put(key("a"), newer)
    assert cache.peek(key("a")) is newer
    assert cache.nbytes == 250
    assert removed == []
    assert cache.evictions == 0
    cache.put(key("a"), sized(301))
    assert removed == [key("a")]
    assert cache.nbytes == 100


@pytest.mark.parametrize("field", Key._fields)
def test_every_part_of_the_key_counts(field: str) -> None:
    cache = EmbeddingCache(1000, 60)
    one = Key("owner", "digest", "model", "revision")
    cache.put(one, sized(1))
    assert cache.get(one._replace(**{field: "another"})) is None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return stop_clock(monkeypatch, "maskery.engine.cache")


def test_the_owner_with_the_most_bytes_makes_room(clock: Clock) -> None:
    cache = EmbeddingCache(1000, 60)
    for number in range(5):
        cache.put(key(str(number), "small"), sized(100))
    for number in range(50):
        clock.now += 1
        cache.put(key(str(number), "flood"), sized(100))
    assert all(key(str(number), "small") in cache for number in range(5))
    assert [number for number in range(50) if key(str(number), "flood") in cache] == [45, 46, 47, 48, 49]


def test_embeddings_that_were_not_used_for_long_are_evicted_first(clock: Clock) -> None:
    cache = EmbeddingCache(1000, 60)
    for number in range(5):
        cache.put(key(str(number), "idle"), sized(100))
    clock.now += 59
    cache.get(key("4", "idle"))
    clock.now += 1
    for number in range(10):
        cache.put(key(str(number), "active"), sized(100))
    assert [number for number in range(5) if key(str(number), "idle") in cache] == [4]
    assert [number for number in range(10) if key(str(number), "active") in cache] == list(range(1, 10))


def test_an_embedding_just_added_is_not_evicted() -> None:
    cache = EmbeddingCache(100, 60)
    cache.put(key("a", "one"), sized(60))
    cache.put(key("b", "other"), sized(70))
    assert key("b", "other") in cache
    assert key("a", "one") not in cache


class AnyUse(RuleBasedStateMachine):
    """The cache beside a simple model of it."""

    BUDGET = 1000
    IDLE = 10
    KEYS = st.integers(0, 11).map(lambda number: key(str(number % 4), owner=str(number // 4)))

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("maskery.engine.cache.time", SimpleNamespace(monotonic=self.clock))
        self.removed: list[Key] = []
        self.cache = EmbeddingCache(self.BUDGET, self.IDLE, self.removed.append)
        self.model: dict[Key, Embedding] = {}
        self.used: dict[Key, float] = {}
        self.expected_removed: list[Key] = []
        self.hits = self.misses = self.evictions = self.evicted_bytes = 0

    def teardown(self) -> None:
        self.patch.undo()

    def _drop(self, name: Key) -> int:
        self.expected_removed.append(name)
        return self.model.pop(name).nbytes

    def _use(self, name: Key) -> None:
        self.clock.now += 1
        self.used[name] = self.clock.now

    def _total(self, owner: str) -> int:
        return sum(each.nbytes for name, each in self.model.items() if name.owner == owner)

    @rule(name=KEYS, nbytes=st.integers(1, 1100))
    def put(self, name: Key, nbytes: int) -> None:
        value = sized(nbytes)
        self._use(name)
        self.cache.put(name, value)
        if nbytes > self.BUDGET:
            if name in self.model:
                self._drop(name)
            return
        self.model[name] = value
        while sum(each.nbytes for each in self.model.values()) > self.BUDGET:
            others = sorted((each for each in self.model if each != name), key=lambda each: self.used[each])
            evicted = others[0]
            if self.used[evicted] > self.clock.now - self.IDLE:
                most = max(self._total(each.owner) for each in others)
                evicted = next(each for each in others if self._total(each.owner) == most)
            self.evictions += 1
            self.evicted_bytes += self._drop(evicted)

    @rule(name=KEYS)
    def get(self, name: Key) -> None:
        if name in self.model:
            self._use(name)
        assert self.cache.get(name) is self.model.get(name)
        if name in self.model:
            self.hits += 1
        else:
            self.misses += 1

    @rule(seconds=st.integers(1, 12))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule(name=KEYS)
    def peek(self, name: Key) -> None:
        assert self.cache.peek(name) is self.model.get(name)
        assert (name in self.cache) == (name in self.model)

    @rule(name=KEYS)
    def remove(self, name: Key) -> None:
        self.cache.remove(name)
        if name in self.model:
            self._drop(name)

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert self.cache.nbytes == sum(each.nbytes for each in self.model.values()) <= self.BUDGET
        assert len(self.cache) == len(self.model)
        assert self.removed == self.expected_removed

    @invariant()
    def counts(self) -> None:
        cache = self.cache
        assert (cache.hits, cache.misses) == (self.hits, self.misses)
        assert (cache.evictions, cache.evicted_bytes) == (self.evictions, self.evicted_bytes)


TestAnyUse = AnyUse.TestCase
TestAnyUse.settings = settings(stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow])
