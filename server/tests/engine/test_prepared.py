"""Ids of prepared pictures: whose they are, and how long they live."""

import re

import pytest
from engine.parts import Clock, embedding, stop_clock

from maskery.engine import NotPrepared, prepared
from maskery.engine.cache import EmbeddingCache, Key
from maskery.engine.prepared import PreparedPictures
from maskery.segmentation import Size

KEY = Key("team", "digest", "model", "1")
OTHER = KEY._replace(digest="other")
SIZE = Size(4, 3)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return stop_clock(monkeypatch, "maskery.engine.prepared", unix=1_700_000_000.9)


def test_an_id_gives_back_what_it_was_made_for(clock: Clock) -> None:
    pictures = PreparedPictures(60)
    made = pictures.add("team", KEY, SIZE)
    assert pictures.get(made.id, "team") == made
    assert (made.key, made.size, made.created) == (KEY, SIZE, 1_700_000_000)
    assert clock.now == 1000


def test_ids_cannot_be_guessed_and_fit_into_a_path() -> None:
    pictures = PreparedPictures(60)
    ids = [pictures.add("team", KEY, SIZE).id for _ in range(100)]
    assert len(set(ids)) == 100
    assert all(re.fullmatch(r"img_[A-Za-z0-9_-]{24}", each) for each in ids)


def test_another_account_is_told_the_same_as_if_there_were_none() -> None:
    pictures = PreparedPictures(60)
    made = pictures.add("team", KEY, SIZE)
    with pytest.raises(NotPrepared) as other:
        pictures.get(made.id, "others")
    pictures.remove(made)
    with pytest.raises(NotPrepared) as gone:
        pictures.get(made.id, "others")
    assert str(other.value) == str(gone.value)


def test_another_accounts_try_is_no_use(clock: Clock) -> None:
    pictures = PreparedPictures(60)
    made = pictures.add("team", KEY, SIZE)
    clock.now += 50
    with pytest.raises(NotPrepared):
        pictures.get(made.id, "others")
    clock.now += 11
    with pytest.raises(NotPrepared):
        pictures.get(made.id, "team")


def test_an_id_lives_on_from_its_last_use(clock: Clock) -> None:
    pictures = PreparedPictures(60)
    used, unused = pictures.add("team", KEY, SIZE), pictures.add("team", OTHER, SIZE)
    for _ in range(3):
        clock.now += 50
        assert pictures.get(used.id, "team") == used
    assert len(pictures) == 1
    with pytest.raises(NotPrepared, match="send the picture again"):
        pictures.get(unused.id, "team")
    clock.now += 61
    with pytest.raises(NotPrepared):
        pictures.get(used.id, "team")
    assert len(pictures) == 0


def test_ids_of_one_picture_are_forgotten_one_by_one_and_the_last_says_so() -> None:
    pictures = PreparedPictures(60)
    first, second = pictures.add("team", KEY, SIZE), pictures.add("others", KEY, SIZE)
    assert pictures.remove(first) is False
    assert pictures.get(second.id, "others") == second
    assert pictures.remove(second) is True
    assert pictures.remove(second) is True
    assert len(pictures) == 0


def test_ids_are_forgotten_with_their_embedding() -> None:
    pictures = PreparedPictures(60)
    gone = [pictures.add("team", KEY, SIZE) for _ in range(3)]
    stays = pictures.add("team", OTHER, SIZE)
    pictures.forget_key(KEY)
    pictures.forget_key(KEY)
    for each in gone:
        with pytest.raises(NotPrepared):
            pictures.get(each.id, "team")
    assert pictures.get(stays.id, "team") == stays


def test_an_embedding_that_makes_room_takes_its_ids_along() -> None:
    pictures = PreparedPictures(60)
    cache = EmbeddingCache(100, pictures.forget_key)
    cache.put(KEY, embedding(0))
    made = pictures.add("team", KEY, SIZE)
    cache.put(OTHER, embedding(0))
    assert KEY not in cache
    with pytest.raises(NotPrepared):
        pictures.get(made.id, "team")


def test_ids_do_not_grow_without_end_and_reading_takes_none_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "_MOST", 10)
    pictures = PreparedPictures(60)
    ids = [pictures.add("team", KEY, SIZE).id for _ in range(15)]
    assert len(pictures) == 10
    for each in ids[5:]:
        assert pictures.get(each, "team").id == each
    assert len(pictures) == 10
    with pytest.raises(NotPrepared):
        pictures.get(ids[4], "team")


def test_a_long_id_of_a_clients_own_making_is_not_repeated_in_full() -> None:
    with pytest.raises(NotPrepared) as caught:
        PreparedPictures(60).get("x" * 10_000, "team")
    assert len(str(caught.value)) < 200
