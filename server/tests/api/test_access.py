"""The access table of all routes. A route that the table does not list fails the tests."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import pytest
from samples import MODEL, b64, png, squares

from maskery.accounts import AccountStore
from maskery.api.app import create_app
from maskery.settings import Settings

MakeClient = Callable[..., httpx.Client]

# open: no key. client: no key, but one of the named clients, which these tests are. any: any valid key. form: a valid
# key in a form. The others are scopes.
Access = Literal["open", "client", "any", "form", "segment", "metrics", "admin"]

# How the key is sent, and the challenge of a response without it.
Sent = Literal["bearer", "basic", "token"]
CHALLENGES = {"bearer": "Bearer", "basic": 'Basic realm="Maskery"', "token": "Token"}

#: All bridges, open to the tests.
BRIDGES: dict[str, Any] = {
    "bridges": "cvat,label-studio,x-anylabeling",
    "cvat_clients": "127.0.0.1",
    "label_studio_url": "http://127.0.0.1:9",
}

TOKEN = "/realms/airefinery-realm/protocol/openid-connect/token"
FILE = "/playground/app.js"


@dataclass(frozen=True)
class Route:
    """Who may use a route, and a request that gets `status` if access is granted.

    Attributes:
        other: status and code for a key of another account; None: nothing here belongs to an account.
        sent: how its callers send the key.
        headers: of the request.
    """

    access: Access
    status: int = 200
    path: str = ""
    json: dict[str, Any] | None = None
    other: tuple[int, str] | None = None
    sent: Sent = "bearer"
    headers: dict[str, str] = field(default_factory=dict)


NOT_YOURS = 404, "image_not_prepared"
IMAGE = b64(png(squares()))

CONFIGURATION = '<View><Image name="i" value="$image"/><BrushLabels name="b" toName="i"/></View>'
KEYPOINT = {"type": "keypointlabels", "to_name": "i", "is_positive": True, "value": {"x": 20, "y": 30}}
PREDICTION = {
    "tasks": [{"id": 1, "data": {"image": f"data:image/png;base64,{IMAGE}"}}],
    "label_config": CONFIGURATION,
    "params": {"context": {"result": [KEYPOINT]}},
}
MARKS = {"marks": [{"type": "point", "data": [20, 20], "label": 1}]}
INVOCATION = {"image": IMAGE, "pos_points": [[20, 20]], "neg_points": [], "obj_bbox": None}

# Braces are replaced by ids of objects that the tests create. The requests succeed in this order.
ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/health/live"): Route("open"),
    ("GET", "/health/ready"): Route("open"),
    ("GET", "/openapi.json"): Route("open"),
    ("HEAD", "/openapi.json"): Route("open"),
    ("GET", "/docs"): Route("open"),
    ("GET", "/swagger/swagger-ui-bundle.js"): Route("open"),
    ("GET", "/swagger/swagger-ui.css"): Route("open"),
    ("GET", "/swagger/favicon-32x32.png"): Route("open"),
    ("GET", "/"): Route("open"),
    ("GET", "/playground/server.json"): Route("open"),
    ("GET", "/playground/{path:path}"): Route("open", path=FILE),
    ("GET", "/v1/models"): Route("any"),
    ("GET", "/v1/limits"): Route("any"),
    ("POST", "/authentication/validate"): Route("any"),
    ("POST", TOKEN): Route("form", other=(401, "wrong_account")),
    ("GET", "/metrics"): Route("metrics"),
    ("POST", "/v1/images/segmentations"): Route(
        "segment",
        # The test adds the image.
        json={"model": MODEL, "segment_prompt": [[[20, 20]]]},
        other=NOT_YOURS,
    ),
    ("POST", "/v1/images"): Route("segment", 201, json={"model": MODEL, "image_prompt": IMAGE}),
    ("GET", "/v1/images/{id:image}"): Route("segment", path="/v1/images/{image}", other=NOT_YOURS),
    ("DELETE", "/v1/images/{id:image}"): Route("segment", 204, path="/v1/images/{image}", other=NOT_YOURS),
    ("GET", "/v1/admin/accounts"): Route("admin"),
    ("POST", "/v1/admin/accounts"): Route("admin", 201, json={"name": "fresh"}),
    ("GET", "/v1/admin/accounts/{name}"): Route("admin", path="/v1/admin/accounts/victim"),
    ("PATCH", "/v1/admin/accounts/{name}"): Route("admin", path="/v1/admin/accounts/victim", json={"disabled": False}),
    ("GET", "/v1/admin/keys"): Route("admin"),
    ("POST", "/v1/admin/keys"): Route("admin", 201, json={"account": "fresh"}),
    ("GET", "/v1/admin/keys/{id}"): Route("admin", path="/v1/admin/keys/{victim}"),
    ("PATCH", "/v1/admin/keys/{id}"): Route("admin", path="/v1/admin/keys/{victim}", json={"limits": {}}),
    ("POST", "/v1/admin/keys/{id}/rotate"): Route("admin", 201, path="/v1/admin/keys/{victim}/rotate", json={}),
    ("DELETE", "/v1/admin/keys/{id}"): Route("admin", path="/v1/admin/keys/{victim}"),
    ("GET", "/v1/admin/usage"): Route("admin"),
    ("GET", "/label-studio{model:path}/health"): Route("any", path="/label-studio/health", sent="basic"),
    ("POST", "/label-studio{model:path}/setup"): Route(
        "any", path="/label-studio/setup", sent="basic", json={"schema": CONFIGURATION}
    ),
    ("POST", "/label-studio{model:path}/webhook"): Route(
        "open", 201, path="/label-studio/webhook", json={"action": "START_TRAINING"}
    ),
    ("POST", "/label-studio{model:path}/predict"): Route(
        "segment", path=f"/label-studio/{MODEL}/predict", sent="basic", json=PREDICTION
    ),
    ("GET", "/x-anylabeling/v1/models"): Route("any", sent="token"),
    ("POST", "/x-anylabeling/v1/predict"): Route(
        "segment", sent="token", json={"model": MODEL, "image": IMAGE, "params": MARKS}
    ),
    ("GET", "/api/functions"): Route("client"),
    ("GET", "/api/functions/{function}"): Route("client", path="/api/functions/maskery.grabcut"),
    ("POST", "/api/function_invocations"): Route(
        "client", json=INVOCATION, headers={"x-nuclio-function-name": "maskery.grabcut"}
    ),
}

# fastapi_swagger reads its files with a deprecated function.
pytestmark = pytest.mark.filterwarnings("ignore:open_binary is deprecated")

Outcome = tuple[int, str | None]
Outcomes = dict[tuple[str, str], Outcome]


def registered(routes: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Methods and paths of all routes, including nested routers."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from registered(inner.routes)
        else:
            yield from ((method, route.path) for method in route.methods)


def test_every_route_declares_who_may_use_it() -> None:
    app = create_app(Settings.load(cvat_key="mk_x", **BRIDGES))
    assert set(registered(app.routes)) == set(ROUTES)
    app.state.container.account_service.store.close()


@dataclass(frozen=True)
class Place:
    """A server with a prepared image of the account `team`."""

    client: httpx.Client
    store: AccountStore
    names: dict[str, str]
    keys: dict[str, str] = field(default_factory=dict)

    def key(self, *scopes: str, account: str = "team", **more: Any) -> str:
        return self.store.keys.create(account, scopes=scopes, **more)[1]

    def state(self) -> list[Any]:
        keys = [(key.id, key.state, key.limits, key.replaced_by) for key in self.store.keys.list()]
        return [self.store.accounts.list(), keys, self.client.get(f"/v1/images/{self.names['image']}").status_code]

    def ask(self, name: tuple[str, str], authorization: str | None, account: str = "team", key: str = "") -> Outcome:
        route, (method, path) = ROUTES[name], name
        path, body = route.path or path, route.json
        for each, value in self.names.items():
            path = path.replace(f"{{{each}}}", value)
        more: dict[str, Any] = {}
        if body is not None:
            image = self.names["image"]
            more["json"] = {**body, "image_prompt": f"id:{image}"} if "segment_prompt" in body else body
        if route.access == "form":
            more["data"] = {"client_id": account, "client_secret": key, "grant_type": "client_credentials"}
        request = self.client.build_request(method, path, **more)
        del request.headers["authorization"]
        request.headers.update(route.headers)
        if key and route.sent == "basic":
            request.headers["authorization"] = f"Basic {b64(f'any:{key}'.encode())}"
        elif key and route.sent == "token":
            request.headers["token"] = key
        elif authorization is not None:
            request.headers["authorization"] = authorization
        response = self.client.send(request)
        is_error = response.status_code >= 400 and method != "HEAD"
        if response.status_code == 401:
            assert response.headers["www-authenticate"] == CHALLENGES[route.sent]
        assert key[16:] == "" or key[16:] not in response.text or (route.access == "form" and not is_error)
        return response.status_code, response.json()["error"]["code"] if is_error else None

    def ask_all(self, key: str, account: str = "team", authorization: str | None = "") -> Outcomes:
        """Send all requests with a key, or with another Authorization header, or without one."""
        header = f"Bearer {key}" if authorization == "" else authorization
        return {name: self.ask(name, header, account, key) for name in ROUTES}


@pytest.fixture
def place(make_client: MakeClient, make_key: Callable[..., str], own_home: Any) -> Iterator[Place]:
    client = make_client(cvat_key=make_key("labellers", scopes=["segment"]), **BRIDGES)
    prepared = client.post("/v1/images", json={"model": MODEL, "image_prompt": IMAGE})
    store = AccountStore.open(own_home / "maskery.db")
    victim, _ = store.keys.create("victim")
    yield Place(client, store, {"image": prepared.json()["id"], "victim": victim.id})
    store.close()


def outcomes(refused: Outcome | None, **by_access: Outcome) -> Outcomes:
    """The expected outcomes: `refused` (None: success) for all routes that are not open, with exceptions by access."""

    def outcome(route: Route) -> Outcome:
        found = by_access.get(route.access, None if route.access in ("open", "client") else refused)
        return found or (route.status, None)

    return {name: outcome(route) for name, route in ROUTES.items()}


WRONG_KEY = 401, "wrong_key"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic dGVhbTp4", "Token {key}", "{key}", "Digest x"])
def test_requests_without_a_bearer_key_are_rejected(place: Place, header: str | None) -> None:
    key = place.key("segment", "metrics", "admin")
    before = place.state()
    sent = header and header.replace("{key}", key)
    # The token route reads the key from its form.
    found = {name: place.ask(name, sent or None) for name in ROUTES}
    expected = outcomes((401, "missing_key"))
    if sent and sent.startswith("Basic"):
        expected |= {name: WRONG_KEY for name, route in ROUTES.items() if route.sent == "basic"}
    assert found == expected
    assert place.state() == before


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/models"), ("POST", "/authentication/validate")])
def test_a_key_without_the_word_bearer_gets_a_hint_and_is_not_echoed(place: Place, method: str, path: str) -> None:
    key = place.key("segment")
    for header, told in ((key, True), (f"Token {key}", True), ("Bearer", False), ("", False)):
        response = place.client.request(method, path, headers={"Authorization": header})
        message = response.json()["error"]["message"]
        assert response.status_code == 401
        assert ("does not begin with the word Bearer: send the header Authorization: Bearer KEY" in message) is told
        assert key not in response.text


@pytest.mark.parametrize(
    "key",
    ["nonsense", "mk_", "mk_000000000000_" + "x" * 43, "two words", "x" * 5000, "mk_000000000000_" + "x" * 42 + "%"],
)
def test_malformed_keys_are_rejected(place: Place, key: str) -> None:
    before = place.state()
    assert place.ask_all(key) == outcomes(WRONG_KEY)
    assert place.state() == before


def test_keys_with_a_wrong_secret_are_rejected(place: Place) -> None:
    key = place.key("segment", "metrics", "admin")
    before = place.state()
    for wrong in (key[:-2] + "xx", key + "x", key[:-1], key.swapcase()):
        assert place.ask_all(wrong) == outcomes(WRONG_KEY)
    assert place.state() == before


@pytest.mark.parametrize("why", ["expired", "revoked", "disabled"])
def test_expired_revoked_and_disabled_keys_are_rejected(place: Place, why: str) -> None:
    scopes = ("segment", "metrics", "admin")
    if why == "expired":
        key = place.key(*scopes, account="gone", lifetime=0.01)
        time.sleep(0.02)
    else:
        key = place.key(*scopes, account="gone")
        if why == "revoked":
            place.store.keys.revoke(key)
        else:
            place.store.accounts.update("gone", disabled=True)
    before = place.state()
    refused = (403, "account_disabled") if why == "disabled" else (401, f"{why}_key")
    assert place.ask_all(key, account="gone") == outcomes(refused)
    assert place.state() == before


@pytest.mark.parametrize("scope", ["segment", "metrics", "admin"])
def test_a_key_grants_its_own_scope_only(place: Place, scope: str) -> None:
    key = place.key(scope)
    refused = {each: (403, "missing_scope") for each in ("segment", "metrics", "admin") if each != scope}
    before = place.state()
    assert place.ask_all(key) == outcomes(None, **refused)  # type: ignore[arg-type]
    assert place.state() == before or scope in ("segment", "admin")


def test_a_key_with_all_scopes_grants_everything(place: Place) -> None:
    assert place.ask_all(place.key("segment", "metrics", "admin")) == outcomes(None)


def test_other_accounts_images_are_not_accessible(place: Place) -> None:
    key = place.key("segment", "metrics", account="stranger")
    expected = outcomes(None, admin=(403, "missing_scope"))
    expected |= {name: route.other for name, route in ROUTES.items() if route.other}
    before = place.state()
    assert place.ask_all(key, account="team") == expected
    assert place.state() == before


@pytest.mark.parametrize("sends", ["nothing", "nonsense", "an admin's key"])
def test_anonymous_servers_have_no_administrators(
    make_client: MakeClient, make_key: Callable[..., str], own_home: Any, sends: str
) -> None:
    client = make_client(anonymous=True, **BRIDGES)
    admin = make_key("team", scopes=["admin", "segment", "metrics"])
    prepared = client.post("/v1/images", json={"model": MODEL, "image_prompt": IMAGE})
    store = AccountStore.open(own_home / "maskery.db")
    victim, _ = store.keys.create("victim")
    place = Place(client, store, {"image": prepared.json()["id"], "victim": victim.id})
    before = place.state()
    key = {"nothing": "", "nonsense": "nonsense"}.get(sends, admin)
    found = place.ask_all(key, authorization="" if key else None)
    assert found == outcomes(None, admin=(403, "missing_scope"))
    assert place.state()[:2] == before[:2]
    store.close()


def test_open_metrics_opens_nothing_else(make_client: MakeClient, make_key: Callable[..., str], own_home: Any) -> None:
    client = make_client(open_metrics=True, cvat_key=make_key("labellers"), **BRIDGES)
    store = AccountStore.open(own_home / "maskery.db")
    place = Place(client, store, {"image": "img_none", "victim": "none"})
    assert place.ask_all("", authorization=None) == outcomes((401, "missing_key"), metrics=(200, None))
    store.close()


@pytest.mark.parametrize("spelling", ["//v1{}", "/inference{}", "/inference/v1{}", "/v1/v1{}", "{}", "/v1{}/", "/V1{}"])
def test_admin_and_metrics_have_one_spelling(place: Place, spelling: str) -> None:
    """So that a proxy's rules for these paths cannot be bypassed, and no spelling bypasses authentication."""
    keys = {"Authorization": f"Bearer {place.key('segment', 'metrics', 'admin')}"}
    paths = {(path.removeprefix("/v1"), method) for method, path in ROUTES if path.startswith("/v1/admin")}
    for path, method in sorted({*paths, ("/metrics", "GET")}):
        written = spelling.format(path).replace("{name}", "victim").replace("{id}", place.names["victim"])
        if written != "/metrics":
            url = f"{str(place.client.base_url).rstrip('/')}{written}"
            assert place.client.request(method, url, headers=keys, json={}).status_code == 404, written


def test_head_is_answered_wherever_get_is(place: Place) -> None:
    key = {"Authorization": f"Bearer {place.key('segment', 'metrics', 'admin')}"}
    for (method, path), route in ROUTES.items():
        if method != "GET":
            continue
        url = (route.path or path).replace("{image}", place.names["image"]).replace("{victim}", place.names["victim"])
        get, head = (place.client.request(each, url, headers=key) for each in ("GET", "HEAD"))
        assert (head.status_code, head.content) == (get.status_code, b""), url
        assert head.headers["content-type"] == get.headers["content-type"]
    assert place.client.head("/v1/models", headers={"Authorization": ""}).status_code == 401
    assert place.client.head("/v1/images/segmentations").status_code == 405
