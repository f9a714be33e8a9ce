"""Decoding: prompts for one image that wait at the same time go into one call of the model."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from maskery.engine.lanes import Lane
from maskery.engine.threads import run_in
from maskery.segmentation import Candidates, Embedding, Model, ObjectPrompt

Answer = list[Candidates]

#: With the seconds that the model took for the call in which it was made.
Timed = tuple[Answer, float]


@dataclass(eq=False)
class _Member:
    """One request's part of a call."""

    objects: Sequence[ObjectPrompt]
    answer: asyncio.Future[Timed]


@dataclass(eq=False)
class _Call:
    """A call of the model that waits for its turn; until then, others may join it."""

    model: Model
    embedding: Embedding
    members: list[_Member] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    started: bool = False

    @property
    def objects(self) -> int:
        return sum(len(member.objects) for member in self.members)


class Decoder:
    """Decodes prompts by embeddings. For one event loop.

    Args:
        lane: whose turns the calls take.
        pool: whose threads make them; at least as many as the lane has slots.

    Attributes:
        calls: of models, since the start.
        requests: that these calls have answered.
    """

    def __init__(self, lane: Lane, pool: ThreadPoolExecutor) -> None:
        self._lane = lane
        self._pool = pool
        # By identity: only the very same embedding is the same image beyond doubt.
        self._waiting: dict[tuple[int, int], _Call] = {}
        self.calls = self.requests = 0

    async def decode(
        self, model: Model, embedding: Embedding, objects: Sequence[ObjectPrompt], account: str = ""
    ) -> Timed:
        """What `model.decode` answers for these objects, or what it raises."""
        name = (id(model), id(embedding))
        call = self._waiting.get(name)
        if call is None or call.objects + len(objects) > model.max_batch:
            call = self._waiting[name] = _Call(model, embedding)
            call.task = asyncio.create_task(self._take(name, call, account))
        member = _Member(objects, asyncio.get_running_loop().create_future())
        call.members.append(member)
        try:
            return await member.answer
        finally:
            if not member.answer.done() or member.answer.cancelled():
                self._leave(name, call, member)

    async def _take(self, name: tuple[int, int], call: _Call, account: str) -> None:
        async def make() -> None:
            call.started = True
            self._close(name, call)
            await self._make(call)

        await self._lane.run(make, account)

    async def _make(self, call: _Call) -> None:
        members = [member for member in call.members if not member.answer.done()]
        if not members:
            return
        try:
            answers, seconds = await self._run(call, members)
        except Exception as error:  # noqa: BLE001 - handed on
            if len(members) == 1:
                _answer(members[0], error)
            else:
                await self._make_one_by_one(call, members)
            return
        start = 0
        for member in members:
            _answer(member, (answers[start : start + len(member.objects)], seconds))
            start += len(member.objects)
        self.requests += len(members)

    async def _make_one_by_one(self, call: _Call, members: Sequence[_Member]) -> None:
        """One prompt that the model cannot bear must not spoil the answers of the others."""
        for member in members:
            try:
                _answer(member, await self._run(call, [member]))
                self.requests += 1
            except Exception as error:  # noqa: BLE001 - handed on
                _answer(member, error)

    async def _run(self, call: _Call, members: Sequence[_Member]) -> Timed:
        """All members' objects, as many at a time as the model takes. It ends early when nobody waits any more."""
        objects = [each for member in members for each in member.objects]
        answer: Answer = []
        seconds = 0.0
        self.calls += 1
        while len(answer) < len(objects) and not all(member.answer.done() for member in members):
            some = objects[len(answer) : len(answer) + call.model.max_batch]
            decoded, spent = await run_in(self._pool, partial(_decode, call, some))
            answer += decoded
            seconds += spent
        return answer, seconds

    def _leave(self, name: tuple[int, int], call: _Call, member: _Member) -> None:
        """Its client went away. A call that has not started and has no other members is taken off the line."""
        if call.started:
            return
        call.members.remove(member)
        if not call.members and call.task:
            self._close(name, call)
            call.task.cancel()

    def _close(self, name: tuple[int, int], call: _Call) -> None:
        if self._waiting.get(name) is call:
            del self._waiting[name]


def _decode(call: _Call, objects: Sequence[ObjectPrompt]) -> Timed:
    started = time.perf_counter()
    answer = call.model.decode(call.embedding, objects)
    return answer, time.perf_counter() - started


def _answer(member: _Member, answer: Timed | Exception) -> None:
    if member.answer.done():
        return
    if isinstance(answer, Exception):
        member.answer.set_exception(answer)
    else:
        member.answer.set_result(answer)
