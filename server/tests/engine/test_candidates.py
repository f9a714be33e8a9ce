"""The cache of candidates: what is known is not decoded again, and the answer is the same bit for bit."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine.parts import MakeEngine, Plain, assert_same, candidates_for, png_file, point, segment
from hypothesis import given
from hypothesis import strategies as st
from sam_folders import write_model
from samples import jpeg, squares

from maskery.engine import Job, Prompt, Timings, Upload
from maskery.engine.cache import Key
from maskery.engine.candidates import CandidateCache, KeyedPrompt, detached
from maskery.models import Registry, Store, registry
from maskery.segmentation import Candidates, Earlier, Embedding, ObjectPrompt, Options, parse_prompt
from maskery.segmentation import segment as segment_alone

KEY, OTHER = Key("team", "digest", "model", "1"), Key("team", "another", "model", "1")
# Of `candidates_for`: logits and a score.
ONE = 8 * 8 * 4 + 4


class Fold(Plain):
    """A model that decodes points one after another, each from the sum of those before it.

    Attributes:
        steps: number of points that were decoded.
    """

    name = "test/fold"

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def decode(
        self, embedding: Embedding, objects: Sequence[ObjectPrompt], earlier: Sequence[Earlier | None] | None = None
    ) -> list[Candidates]:
        assert earlier is not None
        return [self._fold(*each) for each in zip(objects, earlier, strict=True)]

    def _fold(self, prompt: ObjectPrompt, earlier: Earlier | None) -> Candidates:
        done, total = 0, np.float32(0)
        if earlier:
            assert earlier.candidates.state is not None
            done, total = earlier.points, earlier.candidates.state["total"].astype(np.float32)[0]
        for x, y in prompt.points[done:]:
            self.steps += 1
            total = np.float32(total / 3 + x + 7 * y)
        logits = np.full((1, 8, 8), total, np.float32)
        return Candidates(logits, np.ones(1, np.float32), (8, 8), {"total": np.array([total])})


@pytest.fixture
def fold(monkeypatch: pytest.MonkeyPatch) -> Fold:
    model = Fold()
    monkeypatch.setitem(registry._BUILT_IN, model.name, lambda *_: model)  # type: ignore[attr-defined]
    return model


def job(*objects: Any, account: str = "team", model: str = Plain.name, corner: int = 7) -> Job:
    return Job(model, Upload(png_file(corner)), Prompt(list(objects)), Options(merge_iou=1), account)


def clicks(count: int, moved: int = 0) -> list[Any]:
    """Points of so many objects, of which the first has been moved."""
    return [[[number % 10 + (0.25 * moved if number == 0 else 0), number // 10]] for number in range(count)]


def asked(*points: tuple[float, float], **others: Any) -> KeyedPrompt:
    return KeyedPrompt.of(
        ObjectPrompt(np.array(points, np.float32).reshape(-1, 2), np.ones(len(points), np.uint8), **others)
    )


async def test_of_twelve_objects_only_the_one_that_changed_is_decoded(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine()
    first, second, third = Timings(), Timings(), Timings()
    await segment(engine, job(*clicks(12)), first)
    changed = await segment(engine, job(*clicks(12, moved=1)), second)
    again = await segment(engine, job(*clicks(12, moved=1)), third)
    assert [count for count, _ in plain.decoded] == [12, 1]
    assert [(each.objects, each.known_objects) for each in (first, second, third)] == [(12, 0), (12, 11), (12, 12)]
    assert_same(changed, again)
    assert_same(changed, await segment(make_engine(candidate_bytes=0), job(*clicks(12, moved=1))))
    assert "decode" in second.stages
    assert "decode" not in third.stages


async def test_the_order_of_objects_does_not_matter_for_what_is_known(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine()
    await segment(engine, job(*clicks(6)))
    turned = clicks(6)[::-1]
    assert_same(
        await segment(engine, job(*turned)), await segment(make_engine(candidate_bytes=0), job(*turned, account="x"))
    )
    assert [count for count, _ in plain.decoded] == [6, 6]


async def test_two_accounts_never_share_candidates(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine()
    for account in ("one", "other"):
        timings = Timings()
        await segment(engine, job(*clicks(3), account=account), timings)
        assert timings.known_objects == 0
    assert [count for count, _ in plain.decoded] == [3, 3]


async def test_accounts_that_share_images_share_candidates(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine(share_images=True)
    for account in ("one", "other"):
        await segment(engine, job(*clicks(3), account=account))
    assert [count for count, _ in plain.decoded] == [3]


async def test_the_same_prompt_on_another_image_is_decoded(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine()
    for corner in (7, 8):
        await segment(engine, job(*clicks(2), corner=corner))
    assert plain.decoded == [(2, 7), (2, 8)]


async def test_candidates_leave_with_their_embedding(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine(cache_bytes=2 * 64)
    for corner in (1, 2, 3):
        await segment(engine, job(*clicks(2), corner=corner))
    assert len(engine.candidates) == 4
    assert engine.candidates.nbytes == 4 * ONE
    prepared = await engine.prepare(plain.name, Upload(png_file(3)), "team")
    await engine.discard(prepared.id, "team")
    assert len(engine.candidates) == 2


async def test_candidates_of_an_embedding_that_is_not_kept_are_not_kept(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine(cache_bytes=0)
    for _ in range(2):
        await segment(engine, job(*clicks(2)))
    assert (len(engine.candidates), len(plain.decoded)) == (0, 2)


async def test_a_failed_decoding_is_not_kept(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine()
    plain.poison = 1
    with pytest.raises(ValueError, match="cannot decode"):
        await segment(engine, job(*clicks(3)))
    assert len(engine.candidates) == 0
    plain.poison = None
    assert (await segment(engine, job(*clicks(3)))).masks


async def test_a_model_continues_from_the_longest_known_beginning(make_engine: MakeEngine, fold: Fold) -> None:
    engine = make_engine()
    points = [[number, number % 3] for number in range(6)]
    for count in (1, 2, 4, 6, 5):
        await segment(engine, job(points[:count], model=fold.name))
    assert fold.steps == 1 + 1 + 2 + 2 + 1
    with_cache = await segment(engine, job(points, model=fold.name))
    assert fold.steps == 7
    assert_same(with_cache, await segment(make_engine(candidate_bytes=0), job(points, model=fold.name)))
    assert fold.steps == 13


async def test_a_model_without_a_state_is_not_asked_to_continue(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine()
    await segment(engine, job([[1, 1]]))
    assert engine.candidates.find_earlier(next(iter(engine.candidates._prompts)), asked((1, 1), (2, 2))) is None


@pytest.mark.parametrize("name", ["maskery/grabcut", "team/small"])
async def test_requests_of_any_composition_have_the_masks_of_each_object_alone(
    make_engine: MakeEngine, tmp_path: Path, name: str
) -> None:
    store = Store(tmp_path / "models")
    store.install_from_folder("team/small", write_model(tmp_path / "folder"))
    engine = make_engine(store, cache_bytes=2**26, candidate_bytes=2**24)
    image = Upload(jpeg(squares(96, 64)))
    choice = random.Random(name)
    objects = [[[x, y]] for x, y in ((20, 20), (70, 40), (5, 60), (90, 5))] + [[[20, 20], [70, 40]]]
    model, file = Registry(store=store).get(name), engine.open(image)
    decoded = file.decode()
    options = Options(n=3, compose=False)
    alone = {str(each): segment_alone(model, decoded, parse_prompt([each], file.size), options) for each in objects}
    for _ in range(8):
        some = choice.sample(objects, choice.randint(1, len(objects)))
        answer = await segment(engine, Job(name, image, Prompt(some), options, "team"))
        for rank, mask in enumerate(answer.masks):
            for each, its in zip(some, mask.segments, strict=True):
                [expected] = alone[str(each)].masks[rank].segments
                assert (its.score, its.area, its.region) == (expected.score, expected.area, expected.region)
                assert its.rle(file.size) == expected.rle(file.size)
    assert engine.candidates.hits > 0


def test_digests_of_the_first_points_are_those_of_shorter_prompts() -> None:
    long, short = asked((1, 2), (3, 4), (5, 6)), asked((1, 2), (3, 4))
    assert long.digests[:3] == short.digests
    assert len(set(long.digests)) == 4


MASK = np.zeros((8, 8), np.bool_)
DOT = MASK.copy()
DOT[3, 5] = True
BOX = np.array([1, 2, 3, 4], np.float32)


@pytest.mark.parametrize(
    "other",
    [
        asked((3, 4), (1, 2)),
        asked((1, 2)),
        asked((1, 2), (3, 4.5)),
        asked((1, 2), (3, 4), box=BOX),
        asked((1, 2), (3, 4), box=BOX + 1),
        asked((1, 2), (3, 4), mask=MASK),
        asked((1, 2), (3, 4), mask=DOT),
        asked((1, 2), (3, 4), mask=DOT, box=BOX),
        KeyedPrompt.of(ObjectPrompt(np.array([[1, 2], [3, 4]], np.float32), np.array([1, 0], np.uint8))),
    ],
)
def test_prompts_that_differ_in_anything_have_different_digests(other: KeyedPrompt) -> None:
    one = asked((1, 2), (3, 4))
    assert other.digests[-1] != one.digests[-1]
    cache = CandidateCache(2**20, 60)
    cache.add(KEY, one, candidates_for(1, one.prompt))
    assert cache.find(KEY, other) is None
    assert cache.find(OTHER, one) is None
    assert (cache.hits, cache.misses) == (0, 2)


def test_what_was_answered_first_is_kept() -> None:
    cache, prompt = CandidateCache(2**20, 60), asked((1, 2))
    first = candidates_for(1, prompt.prompt)
    assert cache.add(KEY, prompt, first) is first
    assert cache.add(KEY, prompt, candidates_for(1, prompt.prompt)) is first
    assert cache.find(KEY, prompt) is first
    assert cache.nbytes == ONE


def test_candidates_larger_than_the_cache_are_not_kept() -> None:
    cache, prompt = CandidateCache(ONE - 1, 60), asked((1, 2))
    candidates = candidates_for(1, prompt.prompt)
    assert cache.add(KEY, prompt, candidates) is candidates
    assert (len(cache), cache._prompts) == (0, {})


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.booleans()), max_size=40))
def test_the_cache_never_holds_candidates_that_it_cannot_remove(steps: list[tuple[str, int, bool]]) -> None:
    cache = CandidateCache(4 * ONE, 60)
    for name, x, remove in steps:
        key, prompt = KEY._replace(digest=name), asked((x, 0))
        if remove:
            cache.remove_embedding(key)
        else:
            cache.add(key, prompt, candidates_for(x, prompt.prompt))
            assert cache.find(key, prompt)
        assert cache.nbytes == len(cache) * ONE <= 4 * ONE
        assert sum(map(len, cache._prompts.values())) == len(cache)
    for name in "ab":
        cache.remove_embedding(KEY._replace(digest=name))
    assert (len(cache), cache.nbytes, cache._prompts) == (0, 0, {})


def test_detached_candidates_keep_no_larger_array_alive() -> None:
    large = np.arange(4 * 8 * 8, dtype=np.float32).reshape(4, 8, 8)
    [kept] = detached([Candidates(large[1:2, :5], np.ones(1, np.float32), (8, 5), {"state": large[2]})])
    assert kept.state is not None
    for array in (kept.logits, kept.scores, kept.state["state"]):
        assert array.base is None
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    np.testing.assert_array_equal(kept.logits, large[1:2, :5])
    assert kept.nbytes == 5 * 8 * 4 + 4 + 8 * 8 * 4
    assert large.flags.writeable


def test_state_counts_as_bytes() -> None:
    plain = candidates_for(1, point(1))
    assert replace(plain, state={"sum": np.zeros(5, np.int64)}).nbytes == plain.nbytes + 40
