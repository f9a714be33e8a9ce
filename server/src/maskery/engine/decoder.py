"""The decoder: prompts for the same image that wait at the same time share one call of the model."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from maskery.engine.candidates import detached
from maskery.engine.lanes import Lane
from maskery.engine.threads import run_in_thread
from maskery.segmentation import Candidates, Decoding, Earlier, Embedding, ObjectPrompt

#: Candidates of each object, and the seconds that the model's call took.
Decoded = tuple[list[Candidates], float]


@dataclass(eq=False)
class _Member:
    """One request's part of a call."""

    objects: Sequence[ObjectPrompt]
    earlier: Sequence[Earlier | None]
    result: asyncio.Future[Decoded]


@dataclass(eq=False)
class _Call:
    """A queued call of the model. Requests join it until it starts."""

    model: Decoding
    embedding: Embedding
    members: list[_Member] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    started: bool = False

    @property
    def objects(self) -> int:
        return sum(len(member.objects) for member in self.members)


class Decoder:
    """Decodes prompts. For one event loop.

    Args:
        lane: its slots limit the calls at the same time.
        pool: its threads run the model; it has at least as many as the lane has slots.

    Attributes:
        calls: of models, since the start.
        requests: answered by these calls.
    """

    def __init__(self, lane: Lane, pool: ThreadPoolExecutor) -> None:
        self._lane = lane
        self._pool = pool
        # By identity of model and embedding: equal digests of different accounts must not share a call.
        self._waiting: dict[tuple[int, int], _Call] = {}
        self.calls = self.requests = 0

    async def decode(
        self,
        model: Decoding,
        embedding: Embedding,
        objects: Sequence[ObjectPrompt],
        account: str = "",
        earlier: Sequence[Earlier | None] | None = None,
    ) -> Decoded:
        """Call `model.decode` for these objects, together with those of other requests.

        Args:
            earlier: see `Model.decode`.

        Returns:
            The candidates, which share no memory with other arrays and are read-only, and the seconds.

        Raises:
            Exception: what `model.decode` raised for these objects.
        """
        name = (id(model), id(embedding))
        call = self._waiting.get(name)
        if call is None or call.objects + len(objects) > model.max_batch:
            call = self._waiting[name] = _Call(model, embedding)
            call.task = asyncio.create_task(self._run_call(name, call, account))
        member = _Member(objects, earlier or [None] * len(objects), asyncio.get_running_loop().create_future())
        call.members.append(member)
        try:
            return await member.result
        finally:
            if not member.result.done() or member.result.cancelled():
                self._leave(name, call, member)

    async def _run_call(self, name: tuple[int, int], call: _Call, account: str) -> None:
        async with self._lane.slot(account):
            call.started = True
            self._close(name, call)
            members = [member for member in call.members if not member.result.done()]
            if not members:
                return
            try:
                candidates, seconds = await self._decode(call, members)
            except Exception as error:  # noqa: BLE001 - raised in `decode`
                if len(members) == 1:
                    _resolve(members[0], error)
                else:
                    await self._decode_one_by_one(call, members)
                return
            start = 0
            for member in members:
                _resolve(member, (candidates[start : start + len(member.objects)], seconds))
                start += len(member.objects)
            self.requests += len(members)

    async def _decode_one_by_one(self, call: _Call, members: Sequence[_Member]) -> None:
        """After a failure: a prompt that the model cannot decode must not fail the other requests."""
        for member in members:
            try:
                _resolve(member, await self._decode(call, [member]))
                self.requests += 1
            except Exception as error:  # noqa: BLE001 - raised in `decode`
                _resolve(member, error)

    async def _decode(self, call: _Call, members: Sequence[_Member]) -> Decoded:
        """All members' objects, in batches that the model takes. Ends early when all members are cancelled."""
        objects = [each for member in members for each in member.objects]
        earlier = [each for member in members for each in member.earlier]
        candidates: list[Candidates] = []
        seconds = 0.0
        self.calls += 1
        while len(candidates) < len(objects) and not all(member.result.done() for member in members):
            batch = slice(len(candidates), len(candidates) + call.model.max_batch)
            decode = partial(_decode_batch, call, objects[batch], earlier[batch])
            decoded, spent = await run_in_thread(self._pool, decode)
            candidates += decoded
            seconds += spent
        return candidates, seconds

    def _leave(self, name: tuple[int, int], call: _Call, member: _Member) -> None:
        """Remove a cancelled request. A queued call without members is cancelled."""
        if call.started:
            return
        call.members.remove(member)
        if not call.members and call.task:
            self._close(name, call)
            call.task.cancel()

    def _close(self, name: tuple[int, int], call: _Call) -> None:
        if self._waiting.get(name) is call:
            del self._waiting[name]


def _decode_batch(call: _Call, objects: Sequence[ObjectPrompt], earlier: Sequence[Earlier | None]) -> Decoded:
    started = time.perf_counter()
    candidates = detached(call.model.decode(call.embedding, objects, earlier))
    if len(candidates) != len(objects):
        raise RuntimeError(f"model {call.model.name} has decoded {len(candidates)} of {len(objects)} objects")
    return candidates, time.perf_counter() - started


def _resolve(member: _Member, result: Decoded | Exception) -> None:
    if member.result.done():
        return
    if isinstance(result, Exception):
        member.result.set_exception(result)
    else:
        member.result.set_result(result)
