"""/v1/admin: accounts, keys and usage."""

import csv
import io
import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from maskery.accounts import AccountStore

ADMIN = "/v1/admin"
ROUTE = "/v1/images/segmentations"
NO_LIMITS = {
    "requests_per_minute": None,
    "images_per_minute": None,
    "concurrent_requests": None,
    "pixels_per_day": None,
}

MakeClient = Callable[..., httpx.Client]


@pytest.fixture
def client(make_client: MakeClient, make_key: Callable[..., str]) -> httpx.Client:
    """A client with an administrator's key, of a server of this test alone."""
    client = make_client()
    client.headers["authorization"] = f"Bearer {make_key('admins', scopes=['admin'])}"
    return client


@pytest.fixture(scope="module")
def shared(shared_client: httpx.Client, shared_home: Path) -> httpx.Client:
    """A client with an administrator's key, of the module's server."""
    store = AccountStore.open(shared_home / "maskery.db")
    shared_client.headers["authorization"] = f"Bearer {store.keys.create('admins', scopes=['admin'])[1]}"
    store.close()
    return shared_client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def new_key(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = client.post(f"{ADMIN}/keys", json={"account": "team", **fields})
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


def check(response: httpx.Response, status: int, code: str, param: str | None = None) -> str:
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param), response.text
    message: str = error["message"]
    assert message[0].isupper() or param
    assert message.endswith((".", "?"))
    return message


def test_the_life_of_a_key(client: httpx.Client, body: dict[str, Any]) -> None:
    made = new_key(client, name="the camera", days=10, limits={"requests_per_minute": 100})
    assert made["key"].startswith(f"mk_{made['id']}_")
    assert made["expires"] == pytest.approx(time.time() + 10 * 86400, abs=10)
    shown = {name: value for name, value in made.items() if name != "key"}
    assert shown == {
        "id": made["id"],
        "account": "team",
        "name": "the camera",
        "scopes": ["segment", "metrics"],
        "state": "active",
        "created": made["created"],
        "expires": made["expires"],
        "revoked": None,
        "last_used": None,
        "limits": {**NO_LIMITS, "requests_per_minute": 100},
    }
    path = f"{ADMIN}/keys/{made['id']}"
    assert client.get(path).json() == shown
    assert client.post(ROUTE, json=body, headers=bearer(made["key"])).status_code == 200

    changed = client.patch(path, json={"limits": {"concurrent_requests": 5, "requests_per_minute": None}})
    assert changed.json()["limits"] == {**NO_LIMITS, "concurrent_requests": 5}

    rotated = client.post(f"{path}/rotate", json={"overlap_hours": 1})
    assert rotated.status_code == 201
    new = rotated.json()
    assert (new["name"], new["limits"], new["scopes"]) == ("the camera", changed.json()["limits"], shown["scopes"])
    assert client.get(path).json()["expires"] == pytest.approx(time.time() + 3600, abs=10)
    for key in (made["key"], new["key"]):
        assert client.post(ROUTE, json=body, headers=bearer(key)).status_code == 200

    revoked = client.delete(path)
    assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
    check(client.post(ROUTE, json=body, headers=bearer(made["key"])), 401, "revoked_key")
    assert client.post(ROUTE, json=body, headers=bearer(new["key"])).status_code == 200


@pytest.mark.parametrize(
    ("fields", "days"), [({}, 30), ({"days": 0}, None), ({"days": 1.5}, 1.5), ({"days": None}, 30)]
)
def test_the_lifetime_of_a_key(
    make_client: MakeClient, make_key: Callable[..., str], fields: dict[str, Any], days: float | None
) -> None:
    client = make_client(key_days=30)
    client.headers["authorization"] = f"Bearer {make_key(scopes=['admin'])}"
    made = new_key(client, **fields)
    expected = None if days is None else pytest.approx(time.time() + days * 86400, abs=10)
    assert made["expires"] == expected


def test_a_key_rotated_without_overlap_is_rejected_at_once(client: httpx.Client, body: dict[str, Any]) -> None:
    made = new_key(client)
    assert client.post(ROUTE, json=body, headers=bearer(made["key"])).status_code == 200
    client.post(f"{ADMIN}/keys/{made['id']}/rotate", json={"overlap_hours": 0})
    check(client.post(ROUTE, json=body, headers=bearer(made["key"])), 401, "expired_key")
    message = check(client.post(f"{ADMIN}/keys/{made['id']}/rotate", json={}), 404, "key_not_found", "id")
    assert made["id"] in message


def test_an_administrator_can_grant_any_scope(client: httpx.Client) -> None:
    made = new_key(client, scopes=["admin"])
    assert client.get(f"{ADMIN}/accounts", headers=bearer(made["key"])).status_code == 200
    client.delete(f"{ADMIN}/keys/{made['id']}")
    check(client.get(f"{ADMIN}/accounts", headers=bearer(made["key"])), 401, "revoked_key")


def test_the_life_of_an_account(client: httpx.Client, body: dict[str, Any]) -> None:
    response = client.post(f"{ADMIN}/accounts", json={"name": "a team", "limits": {"images_per_minute": 7}})
    assert response.status_code == 201
    made = response.json()
    assert made == {
        "name": "a team",
        "created": pytest.approx(time.time(), abs=10),
        "disabled": False,
        "limits": {**NO_LIMITS, "images_per_minute": 7},
    }
    assert client.get(f"{ADMIN}/accounts/a team").json() == made
    key = new_key(client, account="a team")["key"]

    def ask() -> httpx.Response:
        return client.post(ROUTE, json=body, headers=bearer(key))

    assert ask().status_code == 200
    changed = client.patch(f"{ADMIN}/accounts/a team", json={"disabled": True, "limits": {"pixels_per_day": 10**12}})
    assert changed.json() == {**made, "disabled": True, "limits": {**made["limits"], "pixels_per_day": 10**12}}
    check(ask(), 403, "account_disabled")
    unchanged = client.patch(f"{ADMIN}/accounts/a team", json={})
    assert unchanged.json() == changed.json()
    client.patch(f"{ADMIN}/accounts/a team", json={"disabled": False, "limits": {"pixels_per_day": None}})
    assert ask().status_code == 200
    assert client.get(f"{ADMIN}/accounts/a team").json() == made
    listed = client.get(f"{ADMIN}/accounts").json()["data"]
    assert [each["name"] for each in listed] == ["team", "admins", "a team"]
    assert listed[-1] == made


def test_limits_take_effect_at_once(client: httpx.Client, body: dict[str, Any]) -> None:
    made = new_key(client, account="other")

    def ask() -> int:
        return client.post(ROUTE, json=body, headers=bearer(made["key"])).status_code

    assert ask() == 200
    client.patch(f"{ADMIN}/accounts/other", json={"limits": {"requests_per_minute": 1}})
    assert [ask(), ask()][-1] == 429
    client.patch(f"{ADMIN}/accounts/other", json={"limits": {"requests_per_minute": 0}})
    assert ask() == 200
    client.patch(f"{ADMIN}/keys/{made['id']}", json={"limits": {"requests_per_minute": 1}})
    assert [ask(), ask()][-1] == 429
    client.patch(f"{ADMIN}/keys/{made['id']}", json={"limits": {"requests_per_minute": None}})
    assert ask() == 200


def test_keys_are_listed_page_by_page(client: httpx.Client) -> None:
    ids = [new_key(client, account="many", name=str(number))["id"] for number in range(5)]
    everybody = client.get(f"{ADMIN}/keys").json()
    assert [each["account"] for each in everybody["data"]] == ["team", "admins", *["many"] * 5]
    assert everybody["has_more"] is False
    assert not any("key" in each or "hash" in each for each in everybody["data"])
    pages: list[list[str]] = []
    more = True
    while more:
        query = {"account": "many", "limit": 2, **({"after": pages[-1][-1]} if pages else {})}
        page = client.get(f"{ADMIN}/keys", params=query).json()
        pages.append([each["id"] for each in page["data"]])
        more = page["has_more"]
    assert pages == [ids[:2], ids[2:4], ids[4:]]
    assert client.get(f"{ADMIN}/keys", params={"account": "many", "limit": 5}).json()["has_more"] is False
    assert client.get(f"{ADMIN}/keys", params={"account": "unknown"}).json() == {"data": [], "has_more": False}


def test_the_last_use_of_a_key_is_shown(client: httpx.Client, body: dict[str, Any]) -> None:
    made = new_key(client)
    client.post(ROUTE, json=body, headers=bearer(made["key"]))
    # A usage report flushes everything that was recorded.
    client.get(f"{ADMIN}/usage")
    assert client.get(f"{ADMIN}/keys/{made['id']}").json()["last_used"] == pytest.approx(time.time(), abs=10)


def test_usage_is_current_and_available_as_json_and_csv(client: httpx.Client, body: dict[str, Any]) -> None:
    key = new_key(client, account="used")["key"]
    for _ in range(2):
        client.post(ROUTE, json=body, headers=bearer(key))
    today = datetime.now(UTC).date().isoformat()
    (use,) = client.get(f"{ADMIN}/usage").json()["data"]
    seconds = use.pop("seconds")
    assert 0 < seconds < 60
    assert use == {"account": "used", "day": today, "requests": 2, "images": 1, "objects": 2, "pixels": 96 * 64}
    response = client.get(f"{ADMIN}/usage", headers={"Accept": "text/csv"})
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert "accept" in response.headers["vary"].lower()
    header, row = csv.reader(io.StringIO(response.text))
    assert header == ["day", "account", "requests", "images", "objects", "pixels", "seconds"]
    assert row[:6] == [today, "used", "2", "1", "2", "6144"]

    def found(**query: str) -> int:
        return len(client.get(f"{ADMIN}/usage", params=query).json()["data"])

    assert found(account="used") == found(first=today, last=today) == 1
    assert found(account="unknown") == found(last="2020-01-01") == found(first="2999-01-01") == 0


@pytest.mark.parametrize(
    ("method", "path", "fields", "code", "param"),
    [
        ("POST", "accounts", {}, "missing_field", "name"),
        ("POST", "accounts", {"name": 5}, "invalid_field", "name"),
        ("POST", "accounts", {"name": "<b>"}, "invalid_field", "name"),
        ("POST", "accounts", {"name": "team"}, "invalid_field", "name"),
        ("POST", "accounts", {"name": "x", "limit": {}}, "unknown_field", "limit"),
        ("POST", "accounts", {"name": "x", "limits": 5}, "invalid_field", "limits"),
        ("POST", "accounts", {"name": "x", "limits": {"requests": 1}}, "unknown_field", "limits.requests"),
        ("PATCH", "accounts/team", {"disabled": "yes"}, "invalid_field", "disabled"),
        ("PATCH", "accounts/team", {"name": "x"}, "unknown_field", "name"),
        *(
            ("PATCH", path, {"limits": {name: value}}, "invalid_field", f"limits.{name}")
            for path in ("accounts/team", "keys/{id}")
            for name, value in (
                ("requests_per_minute", -1),
                ("requests_per_minute", 1.5),
                ("requests_per_minute", True),
                ("requests_per_minute", "5"),
                ("concurrent_requests", 2**31),
                ("pixels_per_day", 2**53),
            )
        ),
        ("PATCH", "keys/{id}", {}, "missing_field", "limits"),
        ("POST", "keys", {}, "missing_field", "account"),
        ("POST", "keys", {"account": ""}, "invalid_field", "account"),
        ("POST", "keys", {"account": "a\0"}, "invalid_field", "account"),
        ("POST", "keys", {"account": "x", "name": "n" * 129}, "invalid_field", "name"),
        ("POST", "keys", {"account": "x", "name": "a\nb"}, "invalid_field", "name"),
        ("POST", "keys", {"account": "x", "scopes": []}, "invalid_field", "scopes"),
        ("POST", "keys", {"account": "x", "scopes": ["fly"]}, "invalid_field", "scopes"),
        ("POST", "keys", {"account": "x", "scopes": "admin"}, "invalid_field", "scopes"),
        ("POST", "keys", {"account": "x", "scopes": [1]}, "invalid_field", "scopes[0]"),
        ("POST", "keys", {"account": "x", "days": -1}, "invalid_field", "days"),
        ("POST", "keys", {"account": "x", "days": 40000}, "invalid_field", "days"),
        ("POST", "keys", {"account": "x", "days": "7"}, "invalid_field", "days"),
        ("POST", "keys/{id}/rotate", {"overlap_hours": -1}, "invalid_field", "overlap_hours"),
        ("POST", "keys/{id}/rotate", {"overlap_hours": 9000}, "invalid_field", "overlap_hours"),
        ("POST", "keys/{id}/rotate", {"overlap": 1}, "unknown_field", "overlap"),
    ],
)
def test_an_invalid_field_is_named(
    shared: httpx.Client, method: str, path: str, fields: dict[str, Any], code: str, param: str
) -> None:
    key = new_key(shared)
    before = [shared.get(f"{ADMIN}/keys").json(), shared.get(f"{ADMIN}/accounts").json()]
    check(shared.request(method, f"{ADMIN}/{path.format(id=key['id'])}", json=fields), 422, code, param)
    assert [shared.get(f"{ADMIN}/keys").json(), shared.get(f"{ADMIN}/accounts").json()] == before


def test_malformed_bodies_are_rejected(shared: httpx.Client) -> None:
    routes = [("POST", "accounts"), ("PATCH", "accounts/team"), ("POST", "keys"), ("POST", "keys/0/rotate")]
    for method, path in routes:

        def ask(content: bytes, kind: str = "application/json", route: tuple[str, str] = (method, path)) -> Any:
            return shared.request(route[0], f"{ADMIN}/{route[1]}", content=content, headers={"content-type": kind})

        check(ask(b'{"name":'), 400, "malformed_json")
        check(ask(b"[]"), 400, "malformed_json")
        check(ask(b'{"days": NaN, "days": 1}'), 400, "malformed_json", "days")
        check(ask(b"{}", "text/plain"), 415, "unsupported_media_type", "content-type")
        check(ask(b'{"name": "' + b"x" * 20_000 + b'"}'), 413, "body_too_large")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_json_does_not_have(shared: httpx.Client, number: str) -> None:
    key = new_key(shared)
    for path, text, param in (
        ("keys", f'{{"account": "x", "days": {number}}}', "days"),
        (f"keys/{key['id']}/rotate", f'{{"overlap_hours": {number}}}', "overlap_hours"),
    ):
        response = shared.post(f"{ADMIN}/{path}", content=text, headers={"content-type": "application/json"})
        check(response, 422, "invalid_field", param)
    assert shared.get(f"{ADMIN}/keys/{key['id']}").json()["state"] == "active"


@pytest.mark.parametrize("name", ["unknown", "%00", "a%00b", "..%2f", "%F0%9F%93%B7", "x" * 3000])
def test_unknown_accounts_and_keys_are_404(shared: httpx.Client, name: str) -> None:
    for method, path, code, param in (
        ("GET", f"accounts/{name}", "account_not_found", "account"),
        ("PATCH", f"accounts/{name}", "account_not_found", "account"),
        ("GET", f"keys/{name}", "key_not_found", "id"),
        ("PATCH", f"keys/{name}", "key_not_found", "id"),
        ("POST", f"keys/{name}/rotate", "key_not_found", "id"),
        ("DELETE", f"keys/{name}", "key_not_found", "id"),
        ("GET", f"keys?after={name}", "key_not_found", "id"),
    ):
        if "%2f" in path and "?" not in path:
            continue
        more = {"json": {"limits": {}} if method == "PATCH" else {}} if method in ("PATCH", "POST") else {}
        check(shared.request(method, f"{ADMIN}/{path}", **more), 404, code, param)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("keys?limit=0", "limit"),
        ("keys?limit=1001", "limit"),
        ("keys?limit=many", "limit"),
        ("usage?first=yesterday", "first"),
        ("usage?last=2026-13-01", "last"),
    ],
)
def test_an_invalid_query_parameter_is_named(shared: httpx.Client, query: str, param: str) -> None:
    check(shared.get(f"{ADMIN}/{query}"), 422, "invalid_field", param)


def test_unusual_queries_find_nothing(shared: httpx.Client) -> None:
    for account in ("%00", "%F0%9F%93%B7", "'", "x" * 3000):
        assert shared.get(f"{ADMIN}/keys?account={account}").json()["data"] == []
        assert shared.get(f"{ADMIN}/usage?account={account}").json()["data"] == []


def test_a_complete_key_in_a_path_is_accepted_and_not_echoed(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    key = new_key(client)["key"]
    secret = key[16:]
    for method, path in (("GET", key), ("PATCH", key), ("POST", f"{key}/rotate"), ("DELETE", key)):
        more = {"json": {"limits": {}} if method == "PATCH" else {}} if method in ("PATCH", "POST") else {}
        response = client.request(method, f"{ADMIN}/keys/{path}", **more)
        assert response.status_code in (200, 201)
        assert secret not in response.text
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("maskery")]
    assert len(lines) >= 7
    assert not any(secret in line for line in lines)


def test_every_change_is_logged_without_secrets(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "maskery.audit")
    client.post(f"{ADMIN}/accounts", json={"name": "a b"})
    client.patch(f"{ADMIN}/accounts/a b", json={"disabled": True, "limits": {"pixels_per_day": 5}})
    made = new_key(client, account="a b", scopes=["metrics"])
    path = f"{ADMIN}/keys/{made['id']}"
    client.patch(path, json={"limits": {"requests_per_minute": 9}})
    new = client.post(f"{path}/rotate", json={}).json()
    client.delete(path)
    reading = ("accounts", "accounts/team", "keys", f"keys/{made['id']}", "usage")
    for each in reading:
        assert client.get(f"{ADMIN}/{each}").status_code == 200
    for refused in (client.delete(path), client.post(f"{ADMIN}/keys", json={"account": ""})):
        assert refused.status_code in (404, 422)
    lines = [record.getMessage() for record in caplog.records if record.name == "maskery.audit"]
    by = client.headers["authorization"].split("_")[1]
    assert lines == [
        f"{line}, by key {by} of account admins"
        for line in (
            "account 'a b' created",
            "account 'a b' changed: disabled=True {'pixels_per_day': 5}",
            f"key {made['id']} created for account 'a b' with metrics",
            f"key {made['id']} changed: {{'requests_per_minute': 9}}",
            f"key {made['id']} replaced by {new['id']}",
            f"key {made['id']} revoked",
        )
    ]


def test_the_document_describes_the_bodies(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    bodies = {
        ("/accounts", "post"): ("AccountRequest", {"name", "limits"}, ["name"]),
        ("/accounts/{name}", "patch"): ("AccountChange", {"disabled", "limits"}, None),
        ("/keys", "post"): ("KeyRequest", {"account", "name", "scopes", "days", "limits"}, ["account"]),
        ("/keys/{id}", "patch"): ("KeyChange", {"limits"}, ["limits"]),
        ("/keys/{id}/rotate", "post"): ("RotationRequest", {"overlap_hours"}, None),
    }
    for (path, method), (name, properties, required) in bodies.items():
        operation = document["paths"][f"{ADMIN}{path}"][method]
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        assert body == {"$ref": f"#/components/schemas/{name}"}
        assert set(schemas[name]["properties"]) == properties
        assert schemas[name].get("required") == required
        assert {"400", "401", "403", "404", "413", "415", "422", "503"} <= set(operation["responses"])
    assert set(schemas["LimitsChange"]["properties"]) == set(NO_LIMITS)
    usage = document["paths"][f"{ADMIN}/usage"]["get"]
    assert set(usage["responses"]["200"]["content"]) == {"application/json", "text/csv"}
    references = set(re.findall(r'"#/components/schemas/(\w+)"', client.get("/openapi.json").text))
    assert references <= set(schemas)
    for path, operations in document["paths"].items():
        if path.startswith(ADMIN):
            assert all(operation["security"] == [{"HTTPBearer": []}] for operation in operations.values()), path


def test_responses_with_secrets_are_not_cached(client: httpx.Client) -> None:
    response = client.post(f"{ADMIN}/keys", json={"account": "team"})
    assert response.headers["cache-control"] == "no-store"
