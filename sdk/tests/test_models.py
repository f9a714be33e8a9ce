"""``client.models``."""

import pytest

import air

LISTED = {
    "object": "list",
    "data": [
        {"id": "a/b", "created": 1, "object": "model", "owned_by": "c", "parent": None, "permission": [{"id": "p"}]},
        {"id": "d/e"},
    ],
}


def test_the_list_iterates_over_its_models(twin, stub):
    stub.plays(stub.reply(200, LISTED, {"x-request-id": "req_3"}))
    models = twin.run(lambda client: client.models.list())
    assert [model.id for model in models] == ["a/b", "d/e"]
    assert len(models) == 2
    assert (models.data[0].created, models.data[0].owned_by) == (1, "c")
    assert models.request_id == "req_3"


def test_what_this_release_does_not_know_is_kept(twin, stub):
    stub.plays(stub.reply(200, LISTED))
    model = twin.run(lambda client: client.models.list()).data[0]
    assert model.permission == [{"id": "p"}]
    assert dict(model) == LISTED["data"][0]


def test_a_list_of_something_else_is_a_bad_response(twin, stub):
    stub.plays(stub.reply(200, {"data": ["a/b"]}))
    with pytest.raises(air.BadResponseError, match=r"data\[0\]"):
        twin.run(lambda client: client.models.list())
