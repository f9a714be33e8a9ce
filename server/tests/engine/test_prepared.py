"""Ids of prepared images: which account may use them, and when they expire."""

import re

import pytest
from engine.parts import Clock, embedding, stop_clock

from maskery.engine import NotPrepared, prepared
from maskery.engine.cache import EmbeddingCache, Key
from maskery.engine.prepared import PreparedImages
from maskery.segmentation import Size

KEY = Key("team", "digest", "model", "1")
OTHER = KEY._replace(digest="other")
SIZE = Size(4, 3)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return stop_clock(monkeypatch, "maskery.engine.prepared", unix=1_700_000_000.9)


def test_an_id_leads_to_its_image(clock: Clock) -> None:
    images = PreparedImages(60)
    made = images.add("team", KEY, SIZE)
    assert images.get(made.id, "team") == made
    assert (made.key, made.size, made.created) == (KEY, SIZE, 1_700_000_000)
    assert clock.now == 1000


def test_ids_are_random_and_safe_in_a_path() -> None:
    images = PreparedImages(60)
    ids = [images.add("team", KEY, SIZE).id for _ in range(100)]
    assert len(set(ids)) == 100
    assert all(re.fullmatch(r"img_[A-Za-z0-9_-]{24}", each) for each in ids)


def test_another_account_gets_the_same_error_as_for_an_unknown_id() -> None:
    images = PreparedImages(60)
    made = images.add("team", KEY, SIZE)
    with pytest.raises(NotPrepared) as other:
        images.get(made.id, "others")
    images.remove(made)
    with pytest.raises(NotPrepared) as gone:
        images.get(made.id, "others")
    assert str(other.value) == str(gone.value)


def test_a_request_of_another_account_does_not_count_as_a_use(clock: Clock) -> None:
    images = PreparedImages(60)
    made = images.add("team", KEY, SIZE)
    clock.now += 50
    with pytest.raises(NotPrepared):
        images.get(made.id, "others")
    clock.now += 11
    with pytest.raises(NotPrepared):
        images.get(made.id, "team")


def test_an_id_expires_after_its_last_use(clock: Clock) -> None:
    images = PreparedImages(60)
    used, unused = images.add("team", KEY, SIZE), images.add("team", OTHER, SIZE)
    for _ in range(3):
        clock.now += 50
        assert images.get(used.id, "team") == used
    assert len(images) == 1
    with pytest.raises(NotPrepared, match="send the image again"):
        images.get(unused.id, "team")
    clock.now += 61
    with pytest.raises(NotPrepared):
        images.get(used.id, "team")
    assert len(images) == 0


def test_removing_the_last_id_of_an_image_is_reported() -> None:
    images = PreparedImages(60)
    first, second = images.add("team", KEY, SIZE), images.add("others", KEY, SIZE)
    assert images.remove(first) is False
    assert images.get(second.id, "others") == second
    assert images.remove(second) is True
    assert images.remove(second) is True
    assert len(images) == 0


def test_ids_are_removed_with_their_embedding() -> None:
    images = PreparedImages(60)
    gone = [images.add("team", KEY, SIZE) for _ in range(3)]
    stays = images.add("team", OTHER, SIZE)
    images.remove_key(KEY)
    images.remove_key(KEY)
    for each in gone:
        with pytest.raises(NotPrepared):
            images.get(each.id, "team")
    assert images.get(stays.id, "team") == stays


def test_evicting_an_embedding_removes_its_ids() -> None:
    images = PreparedImages(60)
    cache = EmbeddingCache(100, images.remove_key)
    cache.put(KEY, embedding(0))
    made = images.add("team", KEY, SIZE)
    cache.put(OTHER, embedding(0))
    assert KEY not in cache
    with pytest.raises(NotPrepared):
        images.get(made.id, "team")


def test_the_number_of_ids_is_limited_and_reading_removes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "_MAX_IDS", 10)
    images = PreparedImages(60)
    ids = [images.add("team", KEY, SIZE).id for _ in range(15)]
    assert len(images) == 10
    for each in ids[5:]:
        assert images.get(each, "team").id == each
    assert len(images) == 10
    with pytest.raises(NotPrepared):
        images.get(ids[4], "team")


def test_a_long_unknown_id_is_shortened_in_the_message() -> None:
    with pytest.raises(NotPrepared) as caught:
        PreparedImages(60).get("x" * 10_000, "team")
    assert len(str(caught.value)) < 200
