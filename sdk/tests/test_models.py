"""``client.models``."""

import asyncio

import pytest

import air

LISTED = {
    "object": "list",
    "data": [
        {
            "id": "a/b",
            "created": 1,
            "object": "model",
            "owned_by": "c",
            "root": "a/b",
            "parent": None,
            "permission": [{"id": "p", "allow_view": True, "group": None, "extra": 2}],
            "extra": {"deep": [1]},
        },
        {"id": "d/e"},
    ],
    "more": 1,
}


def test_the_list_iterates_over_its_models(twin, stub):
    stub.plays(stub.reply(200, LISTED, {"x-request-id": "req_3"}))
    models = twin.run(lambda client: client.models.list())
    assert [model.id for model in models] == ["a/b", "d/e"]
    assert len(models) == 2
    assert (models.data[0].created, models.data[0].owned_by) == (1, "c")
    assert models.request_id == "req_3"
    assert models[0] is models.data[0]
    assert models[-1:] == models.data[1:]
    assert models["data"] is models.data
    assert (models.first_id, models.last_id, models.has_more) == (None, None, None)


def test_the_list_iterates_asynchronously_too(stub):
    stub.plays(stub.reply(200, LISTED))

    async def main():
        async with air.AsyncAIRefinery("some-key", stub.url) as client:
            return [model.id async for model in await client.models.list()]

    assert asyncio.run(main()) == ["a/b", "d/e"]


def test_permissions_are_typed(twin, stub):
    stub.plays(stub.reply(200, LISTED))
    models = twin.run(lambda client: client.models.list())
    (permission,) = models[0].permission
    assert isinstance(permission, air.ModelPermission)
    assert (permission.id, permission.allow_view, permission.is_blocking) == ("p", True, False)
    assert (models[0].root, models[0].parent, models[1].permission) == ("a/b", None, [])


def test_timeout_headers_and_further_arguments_are_sent(twin, stub):
    stub.plays(stub.reply(200, LISTED))
    twin.run(lambda client: client.models.list(12, {"x-mine": "yes"}, organization="mine"))
    assert stub.request.headers["x-mine"] == "yes"
    assert 11 < float(stub.request.headers["x-request-timeout"]) <= 12
    assert stub.request.json == {"organization": "mine"}


def test_what_this_release_does_not_know_is_kept(twin, stub):
    stub.plays(stub.reply(200, LISTED))
    models = twin.run(lambda client: client.models.list())
    assert models.more == 1
    assert models.data[0]["extra"] == {"deep": [1]}
    assert models.data[0].permission[0].extra == 2


def test_a_list_of_something_else_is_a_bad_response(twin, stub):
    stub.plays(stub.reply(200, {"data": ["a/b"]}))
    with pytest.raises(air.BadResponseError, match=r"data\[0\]"):
        twin.run(lambda client: client.models.list())
