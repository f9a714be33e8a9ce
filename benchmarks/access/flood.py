"""Latency of a valid client during a flood of invalid keys.

Its clicks are timed without a flood, with it, and with the same flood sent to another process that only refuses, which
shows the effect of the flood's own CPU time.
"""

import asyncio
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from statistics import median, quantiles
from urllib.parse import urlsplit

import httpx

_REFUSAL = b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

# Number of connections of the flood.
_CONNECTIONS = 32


@dataclass(frozen=True)
class Clicks:
    """Clicks of the valid client in one round.

    Attributes:
        p50, p95: milliseconds.
        refused: invalid keys per second that were answered 401.
    """

    p50: float
    p95: float
    refused: float


def measure(url: str, body: dict[str, object], key: str, seconds: float, rounds: int, rate: int) -> dict[str, Clicks]:
    """Medians over the rounds, by kind of flood."""
    with _null_server() as null:
        targets = {"no flood": None, "flood of this server": url, "flood of another process": null}
        rounds_of: dict[str, list[Clicks]] = {name: [] for name in targets}
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
            _clicks(client, body, 2.0)
            for _ in range(rounds):
                for name, target in targets.items():
                    rounds_of[name].append(_round(client, body, seconds, target, rate))
    return {
        name: Clicks(*(median(getattr(each, field) for each in found) for field in ("p50", "p95", "refused")))
        for name, found in rounds_of.items()
    }


def _round(client: httpx.Client, body: dict[str, object], seconds: float, target: str | None, rate: int) -> Clicks:
    if target is None:
        return _summary(_clicks(client, body, seconds), 0.0)
    command = [sys.executable, "-m", "benchmarks.access.flood", target, str(rate), str(seconds + 1)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as flood:
        time.sleep(0.7)
        spent = _clicks(client, body, seconds)
        answered = json.loads(flood.communicate()[0])
    return _summary(spent, answered["refused"] / answered["seconds"])


def _clicks(client: httpx.Client, body: dict[str, object], seconds: float) -> list[float]:
    spent = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        started = time.perf_counter()
        client.post("/v1/images/segmentations", json=body).raise_for_status()
        spent.append((time.perf_counter() - started) * 1e3)
    return spent


def _summary(spent: list[float], refused: float) -> Clicks:
    return Clicks(median(spent), quantiles(spent, n=20)[-1], refused)


@contextmanager
def _null_server() -> Iterator[str]:
    """URL of a server that refuses every request at almost no cost."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.access.flood", "serve"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


async def _serve() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(_REFUSAL)

    server = await asyncio.start_server(refuse, "127.0.0.1")
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


async def _flood(url: str, rate: int, seconds: float) -> None:
    """Send well-formed invalid keys at a constant rate and count the answers with status 401."""
    address = urlsplit(url)
    refused = 0
    started = time.perf_counter()

    async def send(first: int) -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for index in range(first, int(rate * seconds), _CONNECTIONS):
            await asyncio.sleep(max(0.0, started + index / rate - time.perf_counter()))
            key = f"mk_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"
            head = (
                f"POST /v1/images/segmentations HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {key}\r\n"
            )
            writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 0\r\n\r\n".encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            refused += answer.startswith(b"HTTP/1.1 401")
        writer.close()

    await asyncio.gather(*(send(first) for first in range(_CONNECTIONS)))
    print(json.dumps({"refused": refused, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(_serve())
    else:
        asyncio.run(_flood(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
