"""Ids of prepared images: which account may use them, and when they expire."""

import re

import pytest
from engine.parts import Clock, embedding, stop_clock

from maskery.engine import NotPrepared
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
    ids = [images.add(f"team{number}", KEY, SIZE).id for number in range(100)]
    assert len(set(ids)) == 100
    assert all(re.fullmatch(r"img_digest_[A-Za-z0-9_-]{24}", each) for each in ids)


def test_another_account_gets_the_same_error_as_for_an_unknown_id() -> None:
    images = PreparedImages(60)
    made = images.add("team", KEY, SIZE)
    with pytest.raises(NotPrepared) as other:
        images.get(made.id, "others")
    images.remove(made.id)
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


def test_an_account_has_one_id_for_an_image_however_often_it_prepares_it(clock: Clock) -> None:
    images = PreparedImages(60)
    first = images.add("team", KEY, SIZE)
    other = images.add("others", KEY, SIZE)
    clock.now += 50
    for _ in range(1000):
        assert images.add("team", KEY, SIZE) == first
    assert len(images) == 2
    clock.now += 50
    assert images.get(first.id, "team") == first, "preparing it again is a use"
    with pytest.raises(NotPrepared):
        images.get(other.id, "others")


def test_a_removed_id_is_replaced_by_a_new_one() -> None:
    images = PreparedImages(60)
    first, other = images.add("team", KEY, SIZE), images.add("others", KEY, SIZE)
    images.remove(first.id)
    images.remove(first.id)
    assert images.get(other.id, "others") == other
    assert images.add("team", KEY, SIZE).id != first.id


def test_ids_are_removed_with_their_embedding() -> None:
    images = PreparedImages(60)
    gone = [images.add(account, KEY, SIZE) for account in ("team", "others")]
    stays = images.add("team", OTHER, SIZE)
    images.remove_key(KEY)
    images.remove_key(KEY)
    for each in gone:
        with pytest.raises(NotPrepared):
            images.get(each.id, each.account)
    assert images.get(stays.id, "team") == stays


def test_evicting_an_embedding_removes_its_ids() -> None:
    images = PreparedImages(60)
    cache = EmbeddingCache(100, 60, images.remove_key)
    cache.put(KEY, embedding(0))
    made = images.add("team", KEY, SIZE)
    cache.put(OTHER, embedding(0))
    assert KEY not in cache
    with pytest.raises(NotPrepared):
        images.get(made.id, "team")


def test_a_long_unknown_id_is_shortened_in_the_message() -> None:
    with pytest.raises(NotPrepared) as caught:
        PreparedImages(60).get("x" * 10_000, "team")
    assert len(str(caught.value)) < 200
