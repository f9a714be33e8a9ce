"""Middleware: security headers, CORS, trusted proxies."""

import logging
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from samples import MODEL
from waiting import until

ROUTE = "/v1/images/segmentations"
APP = "https://app.example"

API_POLICY = "default-src 'none'; frame-ancestors 'none'"

Make = Callable[..., httpx.Client]


@pytest.fixture
def client(shared_client: httpx.Client) -> httpx.Client:
    return shared_client


def check_headers(answer: httpx.Response) -> None:
    """Check the headers that every response has exactly once."""
    expected = {
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
    }
    for name, value in expected.items():
        assert answer.headers.get_list(name) == [value], (answer.request.url, name)
    (policy,) = answer.headers.get_list("content-security-policy")
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert len(answer.headers.get_list("cache-control")) == 1
    assert "server" not in answer.headers
    assert "x-powered-by" not in answer.headers
    assert "strict-transport-security" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models", 200),
        ("GET", "/v1/limits", 200),
        ("POST", ROUTE, 400),
        ("GET", ROUTE, 405),
        ("GET", "/nothing", 404),
        ("GET", "/v1/nothing", 404),
        ("GET", "/metrics", 200),
        ("GET", "/health/live", 200),
        ("GET", "/health/ready", 200),
        ("POST", "/authentication/validate", 200),
        ("GET", "/openapi.json", 200),
        ("OPTIONS", "/v1/models", 405),
    ],
)
def test_every_response_has_security_headers(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    check_headers(answer)
    assert answer.headers["content-security-policy"] == API_POLICY
    assert answer.headers["cache-control"] == "no-store"


def test_errors_of_middleware_have_security_headers(client: httpx.Client) -> None:
    for headers in ({"Authorization": "Bearer wrong"}, {"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        answer = client.get("/v1/models", headers=headers)
        assert answer.status_code in (401, 403)
        check_headers(answer)
        assert answer.headers["x-request-id"]


def test_internal_errors_have_security_headers(
    make_client: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("maskery.api.routes.limits.READABLE", None)
    answer = make_client(cors_origins=APP).get("/v1/limits", headers={"Origin": APP, "x-request-id": "the-one"})
    assert answer.status_code == 500
    assert "the-one" in answer.json()["error"]["message"]
    check_headers(answer)
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["x-request-id"] == "the-one"
    assert "unexpected error" in caplog.text


@pytest.mark.parametrize("path", ["/", "/playground/app.js", "/playground/server.json"])
def test_the_playground_keeps_its_own_policy(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    check_headers(answer)
    if path.endswith(".json"):
        assert answer.headers["content-security-policy"] == API_POLICY
        return
    assert "require-trusted-types-for 'script'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-cache"
    again = client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    check_headers(again)


def test_the_docs_page_runs_only_its_own_scripts(client: httpx.Client) -> None:
    answer = client.get("/docs")
    check_headers(answer)
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["script-src"].startswith("'self' 'sha256-")
    assert "unsafe" not in policy["script-src"]
    assert policy["connect-src"] == "'self'"
    assert "persistAuthorization" not in answer.text, "it would keep the key in the browser's storage"


def test_hsts_is_off_by_default_and_for_https_only(make_client: Make) -> None:
    hosts = {"trusted_proxies": "127.0.0.1", "allowed_hosts": "masks.example,localhost,127.0.0.1"}
    default, client = make_client(**hosts), make_client(**hosts, hsts_seconds=3600)

    def policy(client: httpx.Client, host: str, proto: str) -> str | None:
        headers = {"Host": host, "X-Forwarded-Proto": proto}
        return client.get("/v1/models", headers=headers).headers.get("strict-transport-security")

    assert policy(default, "masks.example", "https") is None
    assert policy(client, "masks.example", "https") == "max-age=3600"
    assert policy(client, "masks.example", "http") is None
    assert policy(client, "masks.example", "nonsense") is None
    assert policy(client, "localhost:8484", "https") is None, "it would hold for every server on this machine"


# CORS


def preflight(
    client: httpx.Client, origin: str, method: str = "POST", headers: str = "authorization"
) -> httpx.Response:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers, "Origin": origin}
    return client.options(ROUTE, headers=asked)


def test_other_origins_get_no_cors_headers_by_default(client: httpx.Client, make_client: Make) -> None:
    for each in (client, make_client(host="127.0.0.1", allowed_hosts="127.0.0.1"), make_client(host="0.0.0.0")):
        for answer in (preflight(each, APP), each.get("/v1/models", headers={"Origin": APP})):
            assert not [name for name in answer.headers if name.startswith("access-control")]
        assert not preflight(each, APP).is_success


def test_an_allowed_origin_can_send_preflight_and_requests(make_client: Make, body: dict[str, Any]) -> None:
    client = make_client(cors_origins=f"{APP}, http://localhost:3000")
    sent = "authorization,content-type,sdk_version,x-request-id,x-request-timeout,x-session-id"
    for origin in (APP, "http://localhost:3000"):
        asked = preflight(client, origin, headers=sent)
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == origin
        assert "access-control-allow-credentials" not in asked.headers
        assert set(sent.split(",")) <= set(asked.headers["access-control-allow-headers"].lower().split(", "))
        check_headers(asked)
        assert asked.headers["x-request-id"]
        answer = client.post(ROUTE, json={**body, "model": MODEL}, headers={"Origin": origin})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == origin
        assert "Origin" in answer.headers["vary"]


def test_an_allowed_origin_can_read_rate_limit_headers(make_client: Make, body: dict[str, Any]) -> None:
    limits = {"requests_per_minute": 9, "images_per_minute": 9, "pixels_per_day": 10**9}
    answer = make_client(cors_origins=APP, **limits).post(ROUTE, json=body, headers={"Origin": APP})
    assert answer.status_code == 200
    left = {name for name in answer.headers if name.startswith("x-ratelimit-")}
    assert left
    assert left | {"x-request-id", "retry-after"} <= set(answer.headers["access-control-expose-headers"].split(", "))


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://app.example", "https://app.example.evil"])
def test_origins_that_are_not_allowed_are_rejected(make_client: Make, origin: str) -> None:
    client = make_client(cors_origins=APP)
    for answer in (preflight(client, origin), client.get("/v1/models", headers={"Origin": origin})):
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "origin_not_allowed"
        assert "access-control-allow-origin" not in answer.headers
    other = preflight(client, APP, headers="x-forwarded-for")
    assert other.status_code == 400
    assert other.json()["error"]["code"] == "not_for_pages"
    assert other.headers["access-control-allow-origin"] == APP


def test_an_allowed_origin_can_read_error_responses(make_client: Make) -> None:
    client = make_client(cors_origins=APP)
    refusals = {
        401: client.get("/v1/models", headers={"Origin": APP, "Authorization": "Bearer wrong"}),
        403: client.get("/v1/models", headers={"Origin": APP, "Host": "evil.example"}),
        404: client.get("/nothing", headers={"Origin": APP}),
        405: client.get(ROUTE, headers={"Origin": APP}),
        422: client.post(ROUTE, json={"model": MODEL}, headers={"Origin": APP}),
    }
    for status, answer in refusals.items():
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == APP
        check_headers(answer)


def test_the_servers_own_origin_is_allowed_beside_others(make_client: Make) -> None:
    client = make_client(cors_origins=APP)
    own = str(client.base_url).rstrip("/")
    assert client.get("/v1/models", headers={"Origin": own}).status_code == 200


# Proxies


def test_health_checks_are_in_the_log_only_for_debugging(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "maskery.access")
    for path in ("/health/live", "/health/nothing", "/v1/models"):
        client.get(path)
    until(lambda: len(caplog.records) == 3)
    levels = {record.path: record.levelname for record in caplog.records}  # type: ignore[attr-defined]
    assert levels == {"/health/live": "DEBUG", "/health/nothing": "INFO", "/v1/models": "INFO"}


def address(client: httpx.Client, caplog: pytest.LogCaptureFixture, **headers: str) -> str | None:
    """The client's address in the access log."""
    caplog.clear()
    caplog.set_level(logging.DEBUG, "maskery.access")
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    assert client.get("/health/live", headers=named).status_code == 200
    # The line is written after the response is sent.
    latest = time.monotonic() + 10
    while not (records := [record for record in caplog.records if record.name == "maskery.access"]):
        assert time.monotonic() < latest
        time.sleep(0.005)
    (record,) = records
    client_named: str | None = vars(record)["client"]
    assert f" client={client_named or '-'} " in record.getMessage()
    return client_named


FORGED = {"X_Forwarded_For": "203.0.113.9", "X_Forwarded_Proto": "https", "Forwarded": "for=203.0.113.9"}


@pytest.mark.parametrize("trusted", [(), "10.0.0.0/8,::1,127.0.0.2"])
def test_forwarded_headers_of_untrusted_clients_are_ignored(
    make_client: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, trusted: Any
) -> None:
    # uvicorn's own setting to trust every client.
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    client = make_client(trusted_proxies=trusted)
    assert address(client, caplog, **FORGED) == "127.0.0.1"
    forged = {name.replace("_", "-"): value for name, value in FORGED.items()}
    assert "strict-transport-security" not in client.get("/v1/models", headers=forged).headers


@pytest.mark.parametrize("trusted", ["127.0.0.1", "127.0.0.0/8"])
def test_forwarded_headers_of_a_trusted_proxy_are_used(
    make_client: Make, caplog: pytest.LogCaptureFixture, trusted: str
) -> None:
    client = make_client(trusted_proxies=trusted)
    assert address(client, caplog, **FORGED) == "203.0.113.9"
    assert address(client, caplog, X_Forwarded_For="2001:db8::7") == "2001:db8::7"
    assert address(client, caplog) == "127.0.0.1"


def test_addresses_forged_before_the_trusted_proxy_are_ignored(
    make_client: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """A proxy appends the address that it sees; the client sent everything to the left of it."""
    client = make_client(trusted_proxies="127.0.0.1,10.0.0.0/8")
    assert address(client, caplog, X_Forwarded_For="1.2.3.4, 203.0.113.9, 10.0.0.3") == "203.0.113.9"
    assert address(client, caplog, X_Forwarded_For="not an address") is None
    assert address(client, caplog, Forwarded="for=203.0.113.9") == "127.0.0.1"
    assert address(client, caplog, X_Real_IP="203.0.113.9") == "127.0.0.1"


def test_no_header_changes_the_host(make_client: Make) -> None:
    client = make_client(trusted_proxies="127.0.0.1")
    answer = client.get("/v1/models", headers={"Host": "evil.example", "X-Forwarded-Host": "127.0.0.1"})
    assert answer.json()["error"]["code"] == "host_not_allowed"


# Paths


@pytest.mark.parametrize(
    "path",
    [
        "/v1/images/segmentations",
        "/images/segmentations",
        "//v1/images/segmentations",
        "/inference/images/segmentations",
        "//inference//images/segmentations/",
        "/inference/v1/images/segmentations",
        "/v1/v1/images/segmentations",
    ],
)
def test_older_clients_spell_paths_in_many_ways(client: httpx.Client, body: dict[str, Any], path: str) -> None:
    # httpx would take a path that begins with two slashes for a host.
    assert client.post(f"{str(client.base_url).rstrip('/')}{path}", json=body).status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1/images/generations", "/v1/images/edits", "/images/variations", "/v1/chat/completions"]
)
def test_other_paths_of_such_apis_are_404_and_say_what_this_server_does(client: httpx.Client, path: str) -> None:
    answer = client.post(path, json={"prompt": "a cat"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert "POST /v1/images/segmentations" in answer.json()["error"]["message"]


def location(client: httpx.Client, body: dict[str, Any], prefix: str = "", **headers: str) -> str:
    fields = {"model": MODEL, "image_prompt": body["image_prompt"]}
    answer = client.post(f"{prefix}/v1/images", json=fields, headers=headers)
    assert answer.status_code == 201
    return answer.headers["location"].partition("/v1/images/")[0]


def servers(client: httpx.Client, prefix: str = "", **headers: str) -> list[str]:
    document = client.get(f"{prefix}/openapi.json", headers=headers).json()
    return [each["url"] for each in document.get("servers", [])]


def test_a_root_path_stands_in_locations_and_the_openapi_document(make_client: Make, body: dict[str, Any]) -> None:
    client = make_client(root_path="/masks/")
    # A proxy may remove the root path from the request's path, or not.
    for prefix in ("", "/masks"):
        assert location(client, body, prefix) == "/masks"
        assert servers(client, prefix) == ["/masks"]
        assert client.get(f"{prefix}/health/live").status_code == 200
        assert client.get(f"{prefix}/docs").status_code == 200
        assert client.post(f"{prefix}/inference/images/segmentations", json=body).status_code == 200
    assert client.get("/maskss/v1/models").status_code == 404


def test_a_trusted_proxy_names_the_root_path(make_client: Make, body: dict[str, Any]) -> None:
    trusting, other = make_client(trusted_proxies="127.0.0.1", root_path="/set"), make_client()
    prefix = {"X-Forwarded-Prefix": "/team/masks/"}
    assert location(trusting, body, **prefix) == "/team/masks"
    assert servers(trusting, **prefix) == ["/team/masks"]
    assert location(trusting, body) == "/set"
    assert location(other, body, **prefix) == ""
    assert servers(other, **prefix) == []
    for odd in ("//evil.example", "https://evil.example", "/a b", "/../x\u00e4", "x"):
        assert location(trusting, body, **{"X-Forwarded-Prefix": odd.encode("latin-1")}) == "/set"  # type: ignore[dict-item]


# Errors


def test_errors_are_in_headers_too(client: httpx.Client, make_client: Make, body: dict[str, Any]) -> None:
    for answer in (
        client.post(ROUTE, json={**body, "n": 9}),
        client.post(ROUTE, json={**body, "\u00fcmlaut\n\u4e2d": 1}),
        client.post(ROUTE, json={**body, "x" * 5000: 1}),
        client.get("/v1/models", headers={"Authorization": "Bearer wrong"}),
        client.get("/nothing"),
        client.get(ROUTE),
        client.get("/v1/models", headers={"Host": "evil.example"}),
    ):
        assert answer.status_code >= 400
        error, message = answer.json()["error"], answer.headers["x-error-message"]
        assert answer.headers["x-error-code"] == error["code"]
        assert message.isascii()
        assert message.isprintable()
        assert 0 < len(message) <= 500
        assert message.replace("?", "")[:10] == error["message"].replace("?", "")[:10]
    assert "x-error-code" not in client.post(ROUTE, json=body).headers


def test_health_checks_send_any_host_or_none(client: httpx.Client) -> None:
    for path in ("/health/live", "/health/ready"):
        assert client.get(path, headers={"Host": "10.1.2.3:8484"}).status_code in (200, 503)
        with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            assert connection.recv(65536).split()[1] in (b"200", b"503")
    assert client.get("/v1/models", headers={"Host": "10.1.2.3:8484"}).status_code == 403
