"""Two servers that share a PostgreSQL and a Redis."""

import base64
import io
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from outside import PostgresServer, RedisServer
from PIL import Image

from maskery.accounts import AccountStore

SEGMENT = "/v1/images/segmentations"
SECRET = "open-sesame"

# Seconds after which a revocation applies on every server, as documented.
DOCUMENTED_DELAY = 5.0


@dataclass(frozen=True)
class Server:
    """A running `maskery serve`."""

    process: subprocess.Popen[str]
    log_file: Path
    url: str

    @property
    def log(self) -> str:
        return self.log_file.read_text()


class Pair:
    """Two servers and a client of both.

    Attributes:
        keys: of the account `team`, and of the administrator `operators`.
    """

    def __init__(self, servers: list[Server], store: AccountStore) -> None:
        self.servers = servers
        self.store = store
        self.keys = {
            name: store.keys.create(name, scopes=[scope])[1]
            for name, scope in (("team", "segment"), ("operators", "admin"))
        }
        self._client = httpx.Client(timeout=60)

    def ask(self, which: int, method: str, path: str, key: str = "team", **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.keys.get(key, key)}"}
        return self._client.request(method, self.servers[which].url + path, headers=headers, **more)

    def use(self, which: int, key: str = "team") -> httpx.Response:
        """The cheapest request that rate limits count."""
        return self.ask(which, "GET", "/v1/images/img_none", key)

    def administer(self, which: int, method: str, path: str, **more: Any) -> Any:
        response = self.ask(which, method, f"/v1/admin{path}", "operators", **more)
        assert response.status_code in (200, 201), response.text
        return response.json()

    def metric(self, which: int, name: str) -> float:
        text = self._client.get(f"{self.servers[which].url}/metrics").text
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert found, text
        return float(found[1])

    def close(self) -> None:
        self._client.close()


def launch(home: Path, **settings: str) -> tuple[subprocess.Popen[str], Path]:
    home.mkdir()
    named = {f"MASKERY_{name.upper()}": value for name, value in settings.items()}
    log = home / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "maskery", "serve", "--port", "0"],
            env={
                **os.environ,
                "MASKERY_HOME": str(home),
                "MASKERY_OPEN_METRICS": "true",
                "MASKERY_PRELOAD": "maskery/grabcut",
                "PYTHONUNBUFFERED": "1",
                **named,
            },
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    return process, log


def is_ready(process: subprocess.Popen[str], log: Path) -> Server:
    assert process.stdout is not None
    found = re.search(r"http://\S+:\d+", process.stdout.readline())
    assert found, log.read_text()
    return Server(process, log, found[0])


Start = Callable[..., Pair]


@pytest.fixture
def start(tmp_path: Path, request: pytest.FixtureRequest, own_redis: RedisServer) -> Iterator[Start]:
    """Starts both at the same time, with settings as keyword arguments, on an empty database."""
    own_redis.stop()
    own_redis.start("--requirepass", SECRET)
    # A PostgreSQL of its own only for tests that stop it.
    is_own = "own_postgres" in request.fixturenames
    postgres: PostgresServer = request.getfixturevalue("own_postgres" if is_own else "postgres_server")
    # PostgreSQL does not ask for the password, which must not be written to the log nevertheless.
    database = postgres.url(postgres.new_database()).replace("maskery@", f"maskery:{SECRET}@")
    redis = own_redis.url.replace("://", f"://:{SECRET}@")
    launched: list[tuple[subprocess.Popen[str], Path]] = []
    pairs: list[Pair] = []

    def make(**settings: str) -> Pair:
        homes = tmp_path / "one", tmp_path / "two"
        launched.extend(launch(home, database_url=database, redis_url=redis, **settings) for home in homes)
        servers = [is_ready(process, log) for process, log in launched]
        pairs.append(Pair(servers, AccountStore.open(database)))
        return pairs[-1]

    try:
        yield make
        for _, log in launched:
            text = log.read_text()
            assert SECRET not in text
            assert "Traceback" not in text, text
            assert not re.search(r"mk_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", text)
    finally:
        for pair in pairs:
            pair.close()
            pair.store.close()
        for process, _ in launched:
            process.terminate()
        for process, _ in launched:
            process.wait(30)
            if process.stdout:
                process.stdout.close()


def image(number: int) -> str:
    pixels = np.full((32, 48, 3), 128, np.uint8)
    pixels[4:20, 4:20] = (240, 60, number)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def body(number: int) -> dict[str, Any]:
    return {"model": "maskery/grabcut", "image_prompt": image(number), "segment_prompt": [[[10, 10]]]}


def eventually(condition: Callable[[], bool], seconds: float = 30) -> float:
    """Wait until the condition holds; the seconds that it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds
        time.sleep(0.02)
    return time.monotonic() - started


def test_two_servers_share_keys_and_usage(start: Start) -> None:
    pair = start()
    made = pair.administer(0, "POST", "/keys", json={"account": "team"})
    key = made["key"]
    for which in (0, 1):
        assert pair.ask(which, "POST", SEGMENT, key, json=body(1)).status_code == 200
    assert pair.ask(1, "POST", SEGMENT, key, json=body(2)).status_code == 200

    # The server that is asked flushes its usage first, the other one every five seconds.
    def used() -> Counter[str]:
        total: Counter[str] = Counter()
        for use in pair.administer(0, "GET", "/usage?account=team")["data"]:
            total.update({name: use[name] for name in ("requests", "images", "objects", "pixels")})
        return total

    everything = {"requests": 3, "images": 3, "objects": 3, "pixels": 3 * 32 * 48}
    eventually(lambda: used() == everything, 15)
    time.sleep(0.5)
    assert used() == everything

    # Frequent use must not renew the cached record of the other server.
    pair.administer(0, "DELETE", f"/keys/{made['id']}")
    revoked = time.monotonic()
    assert pair.use(0, key).status_code == 401
    eventually(lambda: pair.use(1, key).status_code == 401, DOCUMENTED_DELAY)
    assert time.monotonic() - revoked < DOCUMENTED_DELAY
    assert pair.use(1, key).json()["error"]["code"] == "revoked_key"
    pair.administer(1, "PATCH", "/accounts/team", json={"disabled": True})
    eventually(lambda: pair.use(0).status_code == 403, DOCUMENTED_DELAY)


def test_sixty_requests_per_minute_over_both_servers(start: Start) -> None:
    pair = start(requests_per_minute="60")
    assert [pair.use(0).status_code, pair.use(1).status_code] == [404, 404]

    def failures() -> float:
        return sum(pair.metric(which, "maskery_limits_failures_total") for which in (0, 1))

    # On a busy machine Redis may not answer in time; repeat until it does.
    for number in range(5):
        before = failures()
        key = pair.store.keys.create(f"sixty {number}")[1]
        with ThreadPoolExecutor(6) as pool:
            statuses = Counter(pool.map(lambda which, key=key: pair.use(which, key).status_code, [0, 1] * 45))
        if failures() == before:
            break
    assert statuses == {404: 60, 429: 30}
    response = pair.use(1, key)
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert response.headers["x-ratelimit-limit-requests"] == "60"
    assert response.headers["x-ratelimit-remaining-requests"] == "0"
    other = pair.store.keys.create("other")[1]
    assert pair.use(0, other).headers["x-ratelimit-remaining-requests"] == "59"
    assert pair.use(1, other).headers["x-ratelimit-remaining-requests"] == "58"


def test_while_redis_fails_each_server_counts_alone(start: Start, own_redis: RedisServer) -> None:
    pair = start(requests_per_minute="5", without_redis="local")
    assert [pair.use(0).status_code, pair.use(1).status_code] == [404, 404]
    assert pair.metric(0, "maskery_limits_degraded") == 0
    assert own_redis.process is not None
    own_redis.process.kill()
    own_redis.process.wait()
    for which in (0, 1):
        assert [pair.use(which).status_code for _ in range(6)] == [404] * 5 + [429]
        assert pair.metric(which, "maskery_limits_degraded") == 1
        assert pair.metric(which, "maskery_limits_failures_total") >= 1
        assert "this server counts alone" in pair.servers[which].log
    own_redis.start("--requirepass", SECRET)
    eventually(lambda: pair.use(0).status_code == 404, 15)
    assert pair.metric(0, "maskery_limits_degraded") == 0


def test_while_redis_fails_limited_requests_are_refused(start: Start, own_redis: RedisServer) -> None:
    pair = start(requests_per_minute="100", without_redis="refuse")
    assert pair.use(0).status_code == 404
    own_redis.stop()
    for which in (0, 1):
        response = pair.use(which)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "limits_unavailable")
        assert int(response.headers["retry-after"]) >= 1
        assert SECRET not in response.text
        assert pair.ask(which, "GET", "/v1/models").status_code == 200
    own_redis.start("--requirepass", SECRET)
    for which in (0, 1):
        eventually(lambda which=which: pair.use(which).status_code == 404, 15)  # type: ignore[misc]


def test_a_postgresql_that_stops_and_restarts(start: Start, own_postgres: PostgresServer) -> None:
    pair = start()
    assert pair.ask(0, "POST", SEGMENT, json=body(1)).status_code == 200
    assert pair.use(1).status_code == 404
    pair.store.close()
    own_postgres.stop()
    # Keys are cached for two seconds.
    for which in (0, 1):
        eventually(lambda which=which: pair.use(which).status_code == 503, DOCUMENTED_DELAY)  # type: ignore[misc]
        response = pair.use(which)
        assert response.json()["error"]["code"] == "accounts_unavailable"
        assert int(response.headers["retry-after"]) >= 1
        assert SECRET not in response.text
        assert pair.ask(which, "GET", "/health/live").status_code == 200
        eventually(lambda which=which: pair.ask(which, "GET", "/health/ready").status_code == 503)  # type: ignore[misc]
    eventually(lambda: pair.metric(0, "maskery_usage_failures_total") >= 1, 15)
    own_postgres.start()
    for which in (0, 1):
        eventually(lambda which=which: pair.use(which).status_code == 404, 15)  # type: ignore[misc]
        eventually(lambda which=which: pair.ask(which, "GET", "/health/ready").status_code == 200)  # type: ignore[misc]
    # Usage was kept in memory.
    eventually(lambda: bool(pair.administer(0, "GET", "/usage?account=team")["data"]), 15)
    (use,) = pair.administer(0, "GET", "/usage?account=team")["data"]
    assert (use["requests"], use["images"]) == (1, 1)
    assert "usage is kept in memory until it can be written" in pair.servers[0].log


def test_the_client_raises_a_rate_limit_error(start: Start) -> None:
    from air import AIRefinery, RateLimitError

    pair = start(requests_per_minute="1")
    file = io.BytesIO(base64.b64decode(image(1))).getvalue()
    with AIRefinery(api_key=pair.keys["team"], base_url=pair.servers[0].url, max_retries=0) as client:
        client.images.segment(file, [[[10, 10]]], "maskery/grabcut")
        with pytest.raises(RateLimitError) as refused:
            client.images.segment(file, [[[10, 10]]], "maskery/grabcut")
    assert refused.value.status_code == 429
    assert refused.value.code == "rate_limited"
    assert 1 <= (refused.value.retry_after or 0) <= 60
    assert "1 request per minute" in str(refused.value)
