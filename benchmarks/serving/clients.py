"""The clients, in a process of their own, so that their CPU time is not counted as the server's.

    python -m benchmarks.serving.clients URL KEY MODEL IMAGES

Reads commands as lines of JSON and answers with lines of JSON; `client_process.ClientProcess` starts it.
"""

import asyncio
import base64
import io
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.serving.bodies import Bodies
from benchmarks.serving.images import HEIGHT, WIDTH
from benchmarks.serving.workload import Outcome, Workload

_SEGMENT = "/v1/images/segmentations"
_PREPARE = "/v1/images"

# Stop after as many errors.
_MAX_ERRORS = 10
# Seconds after a failed request, and between starting the background load and the clicks.
_PAUSE = 0.3
_TIMEOUT = 600


class Clients:
    """All clients of one server.

    Args:
        http: client with the server's address and key.
        bodies: of the requests.
    """

    def __init__(self, http: httpx.AsyncClient, bodies: Bodies) -> None:
        self._http = http
        self._bodies = bodies
        self._names: list[str] = []
        self._sent_new = 0

    async def check(self, objects: int) -> str | None:
        """Check the server's answer. Returns what is wrong with it, or None."""
        response = await self._http.post(_SEGMENT, content=self._bodies.known(0, 0, objects))
        if response.status_code != httpx.codes.OK:
            return _error(response)
        mask = Image.open(io.BytesIO(base64.b64decode(response.json()["data"][0]["b64_json"])))
        if mask.mode != "L" or mask.size != (WIDTH, HEIGHT):
            return f"the mask is {mask.mode} {mask.size}"
        greatest = int(np.asarray(mask).max())
        return f"the mask holds {greatest} for {objects} objects" if greatest > objects else None

    async def prepare(self, images: int) -> str | None:
        """Prepare images on the server. Returns an error, or None."""
        names = []
        for image in range(images):
            response = await self._http.post(_PREPARE, content=self._bodies.preparation(image))
            if not response.is_success:
                return _error(response)
            name = str(response.json()["id"])
            names.append(name if name.startswith("id:") else f"id:{name}")
        self._names = names
        return None

    async def run(self, workload: Workload, background: Workload | None) -> tuple[Outcome, Outcome | None]:
        """Run a workload, with another one in the background until it is done."""
        if background is None:
            return await self._run(workload), None
        over = asyncio.Event()
        others = asyncio.create_task(self._run(background, over))
        await asyncio.sleep(_PAUSE)
        mine = await self._run(workload)
        over.set()
        return mine, await others

    async def _run(self, workload: Workload, over: asyncio.Event | None = None) -> Outcome:
        outcome = Outcome()
        errors: Counter[str] = Counter()
        sent = 0
        start = time.perf_counter()

        def goes_on() -> bool:
            if errors.total() >= _MAX_ERRORS or (over is not None and over.is_set()):
                return False
            return sent < workload.min_requests or (
                sent < workload.requests and time.perf_counter() - start < workload.seconds
            )

        async def client() -> None:
            nonlocal sent
            while goes_on():
                body = self._body(workload, sent)
                sent += 1
                began = time.perf_counter()
                error = await self._ask(body)
                if error is None:
                    outcome.latencies.append(time.perf_counter() - began)
                else:
                    errors[error] += 1
                    await asyncio.sleep(_PAUSE)
                if workload.pause:
                    await asyncio.sleep(workload.pause)

        await asyncio.gather(*(client() for _ in range(workload.clients)))
        outcome.seconds = time.perf_counter() - start
        outcome.errors = dict(errors)
        return outcome

    def _body(self, workload: Workload, request: int) -> bytes:
        if workload.target == "new":
            self._sent_new += 1
            return self._bodies.new(self._sent_new, request, workload.objects)
        image = request % workload.images
        if workload.target == "prepared":
            return self._bodies.prepared(self._names[image], request, workload.objects)
        return self._bodies.known(image, request, workload.objects)

    async def _ask(self, body: bytes) -> str | None:
        try:
            response = await self._http.post(_SEGMENT, content=body)
        except httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}"
        good = response.status_code == httpx.codes.OK and b'"b64_json"' in response.content
        return None if good else _error(response)


def _error(response: httpx.Response) -> str:
    return f"status {response.status_code}: {response.text[:200]}"


async def _serve(url: str, key: str, bodies: Bodies, answer: Callable[[Any], None]) -> None:
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        "x-request-timeout": str(_TIMEOUT),
    }
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=_TIMEOUT, trust_env=False, limits=httpx.Limits()
    ) as http:
        clients = Clients(http, bodies)
        while line := await asyncio.to_thread(sys.stdin.readline):
            command, *rest = json.loads(line)
            if command == "check":
                answer(await clients.check(*rest))
            elif command == "prepare":
                answer(await clients.prepare(*rest))
            else:
                workload, background = (each and Workload(**each) for each in rest)
                outcomes = await clients.run(workload, background)
                answer([each and asdict(each) for each in outcomes])


def _main(url: str, key: str, model: str, folder: str) -> None:
    bodies = Bodies(model, [file.read_bytes() for file in sorted(Path(folder).glob("*.jpg"))])
    asyncio.run(_serve(url, key, bodies, lambda what: print(json.dumps(what), flush=True)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
