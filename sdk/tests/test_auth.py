"""``login``: no network, a client's arguments, and a check where the key will be used."""

import asyncio

import pytest

import air


@pytest.fixture(params=["sync", "async"])
def validate(request):
    def run(auth, base_url):
        return auth.validate(base_url) if request.param == "sync" else asyncio.run(auth.validate_async(base_url))

    return run


def test_login_sends_no_request(stub, monkeypatch, key):
    monkeypatch.setenv("AIR_BASE_URL", stub.url)
    air.login("acme", key)
    assert stub.requests == []


def test_openai_answers_the_arguments_of_a_client(key):
    assert air.login("acme", key).openai("http://host/v1/") == {
        "base_url": "http://host",
        "api_key": key,
        "default_headers": {"airefinery_account": "acme"},
    }


def test_clients_made_from_a_login_send_its_account_and_key(twin, stub, key):
    twin.segment(client=air.login("acme", key).openai(base_url=stub.url))
    assert stub.request.headers["airefinery_account"] == "acme"
    assert stub.request.headers["authorization"] == f"Bearer {key}"


def test_without_an_account_no_account_is_sent(key):
    assert air.login("", key).openai()["default_headers"] == {}


def test_an_empty_base_url_means_the_environment_variable_else_the_local_server(key, monkeypatch):
    auth = air.login("acme", key)
    assert auth.openai()["base_url"] == "http://127.0.0.1:8484"
    monkeypatch.setenv("AIR_BASE_URL", "https://team.example/inference")
    assert auth.openai(base_url="")["base_url"] == "https://team.example"


@pytest.mark.parametrize("missing", ["", "  ", None])
def test_a_missing_key_is_an_error_that_says_what_to_pass(missing):
    with pytest.raises(air.ConfigurationError, match="no API key: pass login"):
        air.login("acme", missing)


def test_the_text_none_of_an_unset_variable_is_rejected_as_a_key():
    with pytest.raises(air.ConfigurationError, match="variable it was read from is not set"):
        air.login("acme", str(None))


def test_validate_checks_the_key_at_the_server_that_will_be_used(validate, stub, key):
    stub.plays(stub.reply(200, {"organization_id": "org_1", "plan": "large"}, {"x-request-id": "req_2"}))
    account = validate(air.login("acme", key), stub.url)
    assert (account.organization_id, account["plan"], account.request_id) == ("org_1", "large", "req_2")
    assert (stub.request.method, stub.request.path, stub.request.body) == ("POST", "/authentication/validate", b"")
    assert stub.request.headers["airefinery_account"] == "acme"


def test_a_refused_key_is_an_authentication_error(validate, stub, key):
    stub.plays(stub.error(401, message="unknown key"))
    with pytest.raises(air.AuthenticationError, match="unknown key"):
        validate(air.login("acme", key), stub.url)


def test_an_answer_without_an_organization_is_a_bad_response(validate, stub, key):
    stub.plays(stub.reply(200, {"organization_id": ""}))
    with pytest.raises(air.BadResponseError, match="organization_id"):
        validate(air.login("acme", key), stub.url)


def test_the_repr_shows_the_account_and_not_the_key(key):
    assert repr(air.login("acme", key)) == "Authenticator(account='acme')"
