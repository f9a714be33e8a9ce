"""Answers: typed, and dict-like too."""

import pickle
from collections.abc import MutableMapping

import pytest

from air import SegmentationResponse

SEGMENTS = [{"value": 1, "prompts": [0], "score": 0.8, "area": 3, "bbox": [1, 0, 2, 2], "extra": "kept"}]
USAGE = {"input_tokens": 5, "input_tokens_details": {"image_tokens": 4}, "output_tokens": 1, "total_tokens": 6}


@pytest.fixture
def body(make_answer):
    return make_answer(segments=SEGMENTS, novelty={"deep": [1]}, width=4, height=3) | {"usage": USAGE, "more": True}


@pytest.fixture
def response(twin, stub, body):
    stub.plays(stub.reply(200, body, {"x-request-id": "req_9"}))
    return twin.segment()


def test_every_field_is_an_attribute(response):
    mask = response.data[0]
    assert (mask.label, mask.score, mask.width, mask.height) == (None, 0.9, 4, 3)
    segment = mask.segments[0]
    assert (segment.value, segment.prompts, segment.score, segment.area) == (1, [0], 0.8, 3)
    assert segment.bbox == (1, 0, 2, 2)
    assert response.usage.input_tokens_details == {"image_tokens": 4}
    assert response.usage.total_tokens == 6


def test_every_field_is_a_key_too(response):
    assert response["data"][0]["segments"][0]["area"] == 3
    assert list(response) == list(response.keys()) == ["created", "data", "usage", "more"]
    assert len(response) == 4
    assert dict(response.items()) == dict(response) == {**response}
    assert next(iter(response.values())) == response.created
    assert "usage" in response
    assert "request_id" not in response
    assert response.get("created") == 1_700_000_000
    assert response.get("absent", 7) == 7
    with pytest.raises(KeyError, match="absent"):
        response["absent"]


def test_unknown_keys_are_kept_at_every_level(response):
    assert response.more is True
    assert response.data[0].novelty == {"deep": [1]}
    assert response.data[0].segments[0].extra == "kept"


def test_the_request_id_is_beside_the_body_and_not_in_it(response):
    assert response.request_id == "req_9"
    assert "request_id" not in response.model_dump()


def test_the_dump_is_the_body(response, body):
    dumped = response.model_dump(mode="json", exclude_unset=True)
    assert dumped == body


@pytest.mark.parametrize(("sent", "score"), [("0.75", 0.75), (None, None), (1, 1.0)])
def test_a_score_may_be_numeric_text(make_answer, sent, score):
    assert SegmentationResponse.model_validate(make_answer(score=sent)).data[0].score == score


def test_the_repr_is_short_however_large_the_mask(make_answer):
    ring = [[x, x % 7] for x in range(10_000)]
    mask = {
        "b64_json": "A" * 1_000_000,
        "segments": [{"value": 1, "polygons": [[ring]], "rle": {"size": [3, 4], "counts": "0" * 10_000}}] * 3,
    }
    response = SegmentationResponse.model_validate(make_answer(**mask))
    assert len(repr(response)) < 2500
    assert len(str(response)) < 2500
    assert "created=1700000000" in repr(response)
    assert "score=0.9" in repr(response)
    assert "Segment(value=1" in repr(response)


def test_an_answer_survives_pickling(response):
    copy = pickle.loads(pickle.dumps(response))
    assert copy == response
    assert copy.request_id == "req_9"
    assert copy.data[0].segments[0].to_numpy().sum() == 3


def test_fields_can_be_assigned_by_key(response):
    response["usage"] = None
    response["data"][0]["label"] = "cat"
    response.update({"created": 5}, novelty=1)
    response.data[0].update(score=0.5)
    assert (response.usage, response.data[0].label, response.data[0].score) == (None, "cat", 0.5)
    assert (response.created, response["novelty"], response.novelty) == (5, 1, 1)
    with pytest.raises(TypeError, match="fields of SegmentationResponse cannot be deleted"):
        del response["usage"]
    assert isinstance(response, MutableMapping)
    assert response.setdefault("created", 1) == 5


def test_str_begins_with_the_name_of_the_class(response):
    assert str(response).startswith("SegmentationResponse(created=1700000000, data=[Mask(")
    assert str(response.data[0].segments[0]).startswith("Segment(value=1, ")
    assert f"{response.usage}".startswith("Usage(")
