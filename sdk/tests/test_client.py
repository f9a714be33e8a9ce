"""Settings of a client: where it talks to, with which key, over which connections."""

import asyncio
import copy
import gc
import pickle
import warnings

import httpx
import numpy as np
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
def test_base_urls_as_people_paste_them_name_the_same_server(client_class, pasted):
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
def test_only_whole_path_segments_are_cut_off(base, kept):
    assert AIRefinery("some-key", base).base_url == kept


@pytest.mark.parametrize("empty", [None, "", "  "])
@CLIENTS
def test_without_a_base_url_the_environment_names_the_server_else_it_is_the_local_one(client_class, empty, monkeypatch):
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
        ("http://host:99999", "must look like http"),
        ("http://my host", "must look like http"),
        ("http://a..b", "not an address"),
        ("http://xn--", "not an address"),
        (f"http://{'x' * 70}", "not an address"),
        (8484, "must be a str, got int"),
        ("http://host?a=1", "must not contain"),
        ("http://me:hunter2@host", "must not contain a user name"),
    ],
)
def test_an_invalid_base_url_is_refused_with_a_sentence(base, sentence):
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        AIRefinery("some-key", base)
    assert "hunter2" not in str(caught.value)


@CLIENTS
def test_the_key_comes_from_the_environment_if_none_is_passed(client_class, monkeypatch, stub):
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


def test_whitespace_around_a_key_is_removed(twin, stub, key):
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
        {"max_retries": True},
        {"api_key": object()},
        {"upload": "ftp"},
        {"default_headers": {"x-bad": "line\nbreak"}},
        {"default_headers": {"": "no name"}},
        {"default_headers": {"x y": "blank in the name"}},
        {"default_headers": {"x-number": 1}},
    ],
)
@CLIENTS
def test_invalid_settings_are_refused_at_once(client_class, arguments):
    with pytest.raises(ConfigurationError):
        client_class(**{"api_key": "some-key"} | arguments)


@pytest.mark.parametrize("arguments", [{"timeout": -1}, {"extra_headers": {"x-secret": "caf\u00e9-token"}}])
def test_invalid_arguments_of_a_call_are_refused_before_sending(twin, stub, arguments):
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


def test_a_closed_client_is_a_typed_error(stub):
    client = AIRefinery("some-key", stub.url)
    with client:
        client.images.segment("aW1hZ2U=", [[[1, 2]]], "m")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="the client has been closed"):
            client.images.segment("aW1hZ2U=", [[[1, 2]]], "m")
        client.close()
    never_used = AIRefinery("some-key", stub.url)
    never_used.close()
    with pytest.raises(ConfigurationError, match="the client has been closed"):
        never_used.models.list()

    async def main():
        async with AsyncAIRefinery("some-key", stub.url) as client:
            await client.images.segment("aW1hZ2U=", [[[1, 2]]], "m")
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="the client has been closed"):
                await client.images.segment("aW1hZ2U=", [[[1, 2]]], "m")
            await client.close()

    asyncio.run(main())


def test_your_own_http_client_that_you_closed_is_a_typed_error(stub):
    http = httpx.Client()
    client = AIRefinery("some-key", stub.url, http_client=http)
    http.close()
    with pytest.raises(ConfigurationError, match="has been closed"):
        client.models.list()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda client: pickle.loads(pickle.dumps(client))])
def test_a_client_can_be_copied_and_pickled(twin, stub, duplicate):
    def blocking(client):
        with duplicate(client) as other:
            return other.images.segment("aW1hZ2U=", [[[1, 2]]], "m")

    async def awaiting(client):
        async with duplicate(client) as other:
            return await other.images.segment("aW1hZ2U=", [[[1, 2]]], "m")

    assert twin.run(blocking if twin.kind == "sync" else awaiting, max_retries=1).created
    assert stub.request.headers["authorization"] == "Bearer sk-test-0123456789"


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickle.dumps])
def test_a_client_with_your_own_http_client_cannot_be_copied_or_pickled(stub, duplicate):
    with httpx.Client() as http, pytest.raises(ConfigurationError, match="own http_client cannot be pickled or copied"):
        duplicate(AIRefinery("some-key", stub.url, http_client=http))


@CLIENTS
def test_numpy_numbers_are_accepted_as_settings(client_class):
    client = client_class("some-key", "http://host", timeout=np.int64(5), max_retries=np.int32(1))
    assert (client._transport.config.timeout, client._transport.config.max_retries) == (5.0, 1)
    assert client_class("some-key", "http://host", timeout=np.float32(2.5))._transport.config.timeout == 2.5
    for arguments in ({"timeout": np.bool_(True)}, {"timeout": np.array([1, 2])}, {"max_retries": np.float64(1)}):
        with pytest.raises(ConfigurationError):
            client_class("some-key", "http://host", **arguments)


@CLIENTS
@pytest.mark.parametrize("name", ["chat", "embeddings", "audio", "knowledge", "distiller"])
def test_what_the_reference_sdk_has_beyond_segmentation_is_explained(client_class, name):
    client = client_class("some-key", "http://host")
    with pytest.raises(AttributeError, match=rf"no attribute '{name}'\. This SDK \(maskery-sdk\) is for image segment"):
        getattr(client, name)
    with pytest.raises(AttributeError, match="is for image segmentation"):
        client.images.generate(prompt="a cat", model="m")
    assert not hasattr(client, name)
    assert not hasattr(client, "__no_such_protocol__")


def test_your_own_async_http_client_in_a_second_loop_is_a_typed_error(stub):
    http = httpx.AsyncClient()
    client = AsyncAIRefinery("some-key", stub.url, http_client=http)
    assert asyncio.run(client.images.segment("aW1hZ2U=", [[[1, 2]]], "m")).created
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its connection is left open
        with pytest.raises(ConfigurationError, match="works in the event loop that used it first"):
            asyncio.run(client.images.segment("aW1hZ2U=", [[[1, 2]]], "m"))
        del client, http
        gc.collect()


@CLIENTS
def test_default_headers_may_be_the_third_argument(client_class):
    assert client_class("some-key", "http://host", {"x-team": "a"})._transport.config.headers["x-team"] == "a"
