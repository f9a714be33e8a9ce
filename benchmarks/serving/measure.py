"""The run: one server after the other, each through all scenarios."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.serving import model_cost
from benchmarks.serving.contenders import MODEL, Contender
from benchmarks.serving.client_process import Crowd
from benchmarks.serving.summary import Numbers, numbers
from benchmarks.serving.processes import busy_seconds, cpu_seconds
from benchmarks.serving.scenarios import Scale, Scenario, scenarios
from benchmarks.serving.server import Server, free_port
from benchmarks.serving.workload import Work

Say = Callable[[str], None]

# That everything a server makes when first needed is made before the clock runs: sizes of batches above all.
_WARM = Work(clients=4, requests=16, least=4, seconds=3)
_WARM_EIGHT = Work(requests=2, objects=8)


class WrongAnswer(Exception):  # noqa: N818 - the name states what was found
    """A server does not answer as it should, so that its speed says nothing."""


class Setup:
    """What all servers of a run are given.

    Args:
        folder: of the model.
        home: of our own server, with the model installed.
        key: that our own server lets in.
        images: folder of the images sent.
        scale: how much is measured.
        cores: of the machine.
    """

    def __init__(self, folder: Path, home: Path, key: str, images: Path, scale: Scale, cores: int) -> None:
        self.folder = folder
        self.home = home
        self.key = key
        self.images = images
        self.scale = scale
        self.cores = cores
        self._alone: dict[tuple[str, str], dict[str, Any]] = {}

    def measure(self, contender: Contender, say: Say) -> dict[str, Any]:
        """A server's part of the report.

        Raises:
            ServerFailed: it does not start.
            WrongAnswer: its first answer is not the mask asked for.
            CrowdFailed: the clients ended.
            CannotRun: the model does not run alone.
        """
        say(f"{contender.name}: starting")
        port = free_port()
        busy, began = busy_seconds(), time.perf_counter()
        with Server(contender.name, contender.start(port, self.folder, self.home), port, self.key) as server:
            ready = server.ready_seconds
            with Crowd(server.url, self.key, MODEL, self.images) as crowd:
                before = time.perf_counter()
                self._first_answer(contender, crowd)
                first = ready + time.perf_counter() - before
                say(f"{contender.name}: warming up")
                if contender.keeps:
                    crowd.run(_WARM)
                    crowd.run(_WARM_EIGHT)
                seen = self._all(contender, server, crowd, say)
                memory = server.memory_bytes()
                mine = server.cpu_seconds() + cpu_seconds(crowd.pid)
            seconds = time.perf_counter() - began
            others = max(0.0, busy_seconds() - busy - mine) / seconds / self.cores
        say(f"{contender.name}: the model alone")
        return {
            "precision": contender.precision,
            "colour": contender.colour,
            "own": contender.own,
            "keeps": contender.keeps,
            "ready_seconds": ready,
            "first_answer_seconds": first,
            "memory_bytes": memory,
            "seconds": seconds,
            "others": others,
            "alone": self._costs(contender),
            "scenarios": seen,
        }

    def _first_answer(self, contender: Contender, crowd: Crowd) -> None:
        wrong = crowd.check(1)
        if wrong is not None:
            raise WrongAnswer(f"{contender.name} answers wrongly: {wrong}")

    def _all(self, contender: Contender, server: Server, crowd: Crowd, say: Say) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for each in scenarios(self.scale, contender.keeps):
            if contender.only and each.key not in contender.only:
                continue
            say(f"{contender.name}: {each.title}")
            reason = self._reason_to_skip(each, seen, crowd)
            if reason is not None:
                seen[each.key] = {"title": each.title, "skipped": reason}
                continue
            measured = _measure(each, server, crowd)
            what = {"skipped": "no request was answered"} if measured is None else asdict(measured)
            seen[each.key] = {"title": each.title, **what}
        return seen

    def _reason_to_skip(self, scenario: Scenario, seen: dict[str, Any], crowd: Crowd) -> str | None:
        known = seen.get("known", {}).get("p50")
        if scenario.work.target == "prepared":
            why = crowd.prepare(scenario.work.images)
            return None if why is None else f"the server prepares no images ({why[:60]})"
        if scenario.known and known and known * scenario.work.clients > self.scale.patience:
            return f"a round would take {known * scenario.work.clients:.0f} s"
        return None

    def _costs(self, contender: Contender) -> dict[str, Any]:
        key = contender.engine, contender.precision
        if key not in self._alone:
            costs = model_cost.measure(*key, self.folder, self.cores, self.scale.alone_seconds)
            self._alone[key] = {task: asdict(cost) for task, cost in costs.items()}
        return self._alone[key]


def _measure(scenario: Scenario, server: Server, crowd: Crowd) -> Numbers | None:
    stages, cpu = server.stages(), server.cpu_seconds()
    outcome, beside = crowd.run(scenario.work, scenario.beside)
    spent = server.cpu_seconds() - cpu
    after = server.stages()
    return numbers(outcome, beside, spent, {stage: after[stage] - stages.get(stage, 0.0) for stage in after})
