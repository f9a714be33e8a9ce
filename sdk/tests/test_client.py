"""Settings of a client: where it talks to, with which key, over which connections."""

import asyncio

import httpx
import pytest

from air import AIRefinery, AsyncAIRefinery, ConfigurationError, InputError

CLIENTS = pytest.mark.parametrize("client_class", [AIRefinery, AsyncAIRefinery])


@pytest.mark.parametrize(
    "pasted",
    [
        "http://host:1",
        "http://host:1/",
        "http://host:1//",
        "http://host:1/v1",
        "http://host:1/v1/",
        "http://host:1/inference",
        "http://host:1/inference/v1/",
        "http://host:1/v1/inference",
        "  http://host:1/v1\n",
    ],
)
@CLIENTS
def test_bases_as_people_paste_them_name_the_same_server(client_class, pasted):
    assert client_class("some-key", pasted).base_url == "http://host:1"


@pytest.mark.parametrize(
    ("base", "kept"),
    [
        ("https://host/team/v1", "https://host/team"),
        ("https://host/team-v1", "https://host/team-v1"),
        ("http://v1", "http://v1"),
        ("http://inference/inference", "http://inference"),
        ("http://[::1]:8484/v1", "http://[::1]:8484"),
    ],
)
def test_only_whole_steps_of_the_path_are_cut_off(base, kept):
    assert AIRefinery("some-key", base).base_url == kept


@pytest.mark.parametrize("empty", [None, "", "  "])
@CLIENTS
def test_without_a_base_the_environment_names_the_server_and_else_it_is_the_local_one(client_class, empty, monkeypatch):
    assert client_class("some-key", empty).base_url == "http://127.0.0.1:8484"
    monkeypatch.setenv("AIR_BASE_URL", "https://team.example/v1")
    assert client_class("some-key", empty).base_url == "https://team.example"


@pytest.mark.parametrize(
    ("base", "sentence"),
    [
        ("localhost:8484", "must look like http"),
        ("ftp://host", "must look like http"),
        ("http://", "must look like http"),
        ("http://host:port", "not an address"),
        ("http://host?a=1", "must not hold"),
        ("http://me:hunter2@host", "must not hold a user name"),
    ],
)
def test_a_base_that_cannot_work_is_refused_with_a_sentence(base, sentence):
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        AIRefinery("some-key", base)
    assert "hunter2" not in str(caught.value)


@CLIENTS
def test_the_key_comes_from_the_environment_where_none_is_passed(client_class, monkeypatch, stub):
    with pytest.raises(ConfigurationError, match="set AIR_API_KEY"):
        client_class()
    monkeypatch.setenv("AIR_API_KEY", "key-of-the-environment")
    assert client_class()._transport.config.headers["authorization"] == "Bearer key-of-the-environment"
    assert client_class("passed-key")._transport.config.headers["authorization"] == "Bearer passed-key"


@pytest.mark.parametrize("bad", ["two words", "smart”quote", "line\nbreak"])
def test_a_damaged_key_is_refused_without_showing_it(bad):
    with pytest.raises(ConfigurationError, match="pasted whole") as caught:
        AIRefinery(bad)
    assert bad not in str(caught.value)


def test_blanks_around_a_key_are_no_part_of_it(twin, stub, key):
    twin.segment(client={"api_key": f" {key}\n"})
    assert stub.request.headers["authorization"] == f"Bearer {key}"


@CLIENTS
def test_the_repr_names_the_server_and_never_the_key(client_class, key):
    client = client_class(key, "http://host")
    assert repr(client) == f"{client_class.__name__}(base_url='http://host')"
    assert key not in repr(client._transport.config) + repr(vars(client)) + repr(client._transport.config.headers)


@pytest.mark.parametrize(
    "arguments",
    [
        {"timeout": 0},
        {"timeout": float("inf")},
        {"timeout": float("nan")},
        {"timeout": True},
        {"max_retries": -1},
        {"max_retries": 1.5},
        {"upload": "ftp"},
        {"default_headers": {"x-bad": "line\nbreak"}},
        {"default_headers": {"": "no name"}},
        {"default_headers": {"x y": "blank in the name"}},
        {"default_headers": {"x-number": 1}},
    ],
)
@CLIENTS
def test_settings_that_cannot_work_are_refused_at_once(client_class, arguments):
    with pytest.raises(ConfigurationError):
        client_class("some-key", **arguments)


@pytest.mark.parametrize("arguments", [{"timeout": -1}, {"extra_headers": {"x-secret": "caf\u00e9-token"}}])
def test_arguments_of_a_call_that_cannot_work_are_refused_before_sending(twin, stub, arguments):
    with pytest.raises(InputError) as caught:
        twin.segment(**arguments)
    assert "token" not in str(caught.value)
    assert stub.requests == []


def test_your_own_http_client_is_used_and_left_open(twin, stub, make_answer):
    seen = []

    def handler(request):
        seen.append(request)
        return httpx.Response(200, json=make_answer())

    if twin.kind == "sync":
        with httpx.Client(transport=httpx.MockTransport(handler), headers={"x-gateway": "pass"}) as http:
            twin.segment(client={"http_client": http})
            assert not http.is_closed
    else:

        async def main():
            async with httpx.AsyncClient(transport=httpx.MockTransport(handler), headers={"x-gateway": "pass"}) as http:
                async with AsyncAIRefinery("some-key", stub.url, http_client=http) as client:
                    await client.images.segment("aW1hZ2U=", [[[1, 2]]], "m")
                assert not http.is_closed

        asyncio.run(main())
    assert seen[0].headers["x-gateway"] == "pass"


def test_your_own_http_client_does_not_follow_redirects_either(stub):
    stub.plays(stub.reply(307, "", {"Location": f"{stub.url}/elsewhere"}), stub.segmented())
    with httpx.Client(follow_redirects=True, auth=("someone", "else")) as http:
        client = AIRefinery("some-key", stub.url, http_client=http)
        with pytest.raises(Exception, match="redirects"):
            client.images.segment("aW1hZ2U=", [[[1, 2]]], "m")
    assert stub.request.headers["authorization"] == "Bearer some-key"


def test_the_other_kind_of_http_client_is_refused():
    with httpx.Client() as http, pytest.raises(ConfigurationError, match=r"httpx\.AsyncClient"):
        AsyncAIRefinery("some-key", http_client=http)

    async def main():
        async with httpx.AsyncClient() as http:
            AIRefinery("some-key", http_client=http)

    with pytest.raises(ConfigurationError, match=r"httpx\.Client"):
        asyncio.run(main())


def test_leaving_the_context_closes_the_pool(twin, stub):
    client = twin.run(lambda c: _itself(c) if twin.kind == "async" else c)
    assert client._transport._http.is_closed


async def _itself(client):
    return client
