"""The clients, in a process of their own: what they take of a processor is not the server's.

    python -m benchmarks.serving.clients URL KEY MODEL IMAGES

Reads commands as JSON, a line each, and answers with JSON, a line each; see `crowd.Crowd`, which starts it.
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
from benchmarks.serving.workload import Outcome, Work

_SEGMENT = "/v1/images/segmentations"
_PREPARE = "/v1/images"

# A server that goes on failing is asked no more.
_MOST_ERRORS = 10
# After a request that failed, and before clicks follow an image that is to be encoded meanwhile.
_MOMENT = 0.3
_SECONDS_A_REQUEST = 600


class Clients:
    """All clients of one server.

    Args:
        http: with the server's address and key.
        bodies: what they send.
    """

    def __init__(self, http: httpx.AsyncClient, bodies: Bodies) -> None:
        self._http = http
        self._bodies = bodies
        self._names: list[str] = []
        self._sent_new = 0

    async def check(self, objects: int) -> str | None:
        """What is wrong with the server's answer; None: nothing is."""
        response = await self._http.post(_SEGMENT, content=self._bodies.known(0, 0, objects))
        if response.status_code != httpx.codes.OK:
            return _error(response)
        mask = Image.open(io.BytesIO(base64.b64decode(response.json()["data"][0]["b64_json"])))
        if mask.mode != "L" or mask.size != (WIDTH, HEIGHT):
            return f"the mask is {mask.mode} {mask.size}"
        greatest = int(np.asarray(mask).max())
        return f"the mask holds {greatest} for {objects} objects" if greatest > objects else None

    async def prepare(self, images: int) -> str | None:
        """Give that many images to the server ahead; why that cannot be, or None."""
        names = []
        for image in range(images):
            response = await self._http.post(_PREPARE, content=self._bodies.preparation(image))
            if not response.is_success:
                return _error(response)
            name = str(response.json()["id"])
            names.append(name if name.startswith("id:") else f"id:{name}")
        self._names = names
        return None

    async def run(self, work: Work, beside: Work | None) -> tuple[Outcome, Outcome | None]:
        """Do the work, while other clients do another until it is done."""
        if beside is None:
            return await self._run(work), None
        over = asyncio.Event()
        others = asyncio.create_task(self._run(beside, over))
        await asyncio.sleep(_MOMENT)
        mine = await self._run(work)
        over.set()
        return mine, await others

    async def _run(self, work: Work, over: asyncio.Event | None = None) -> Outcome:
        outcome = Outcome()
        errors: Counter[str] = Counter()
        sent = 0
        start = time.perf_counter()

        def goes_on() -> bool:
            if errors.total() >= _MOST_ERRORS or (over is not None and over.is_set()):
                return False
            return sent < work.least or (sent < work.requests and time.perf_counter() - start < work.seconds)

        async def client() -> None:
            nonlocal sent
            while goes_on():
                body = self._body(work, sent)
                sent += 1
                began = time.perf_counter()
                error = await self._ask(body)
                if error is None:
                    outcome.latencies.append(time.perf_counter() - began)
                else:
                    errors[error] += 1
                    await asyncio.sleep(_MOMENT)
                if work.pause:
                    await asyncio.sleep(work.pause)

        await asyncio.gather(*(client() for _ in range(work.clients)))
        outcome.seconds = time.perf_counter() - start
        outcome.errors = dict(errors)
        return outcome

    def _body(self, work: Work, request: int) -> bytes:
        if work.target == "new":
            self._sent_new += 1
            return self._bodies.new(self._sent_new, request, work.objects)
        image = request % work.images
        if work.target == "prepared":
            return self._bodies.prepared(self._names[image], request, work.objects)
        return self._bodies.known(image, request, work.objects)

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
        "x-request-timeout": str(_SECONDS_A_REQUEST),
    }
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=_SECONDS_A_REQUEST, trust_env=False, limits=httpx.Limits()
    ) as http:
        clients = Clients(http, bodies)
        while line := await asyncio.to_thread(sys.stdin.readline):
            command, *rest = json.loads(line)
            if command == "check":
                answer(await clients.check(*rest))
            elif command == "prepare":
                answer(await clients.prepare(*rest))
            else:
                work, beside = (each and Work(**each) for each in rest)
                outcomes = await clients.run(work, beside)
                answer([each and asdict(each) for each in outcomes])


def _main(url: str, key: str, model: str, folder: str) -> None:
    bodies = Bodies(model, [file.read_bytes() for file in sorted(Path(folder).glob("*.jpg"))])
    asyncio.run(_serve(url, key, bodies, lambda what: print(json.dumps(what), flush=True)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
