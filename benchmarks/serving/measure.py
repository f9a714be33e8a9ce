"""Measure the servers one after the other, each in all scenarios."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.serving import model_cost
from benchmarks.serving.client_process import ClientProcess
from benchmarks.serving.contenders import MODEL, Contender
from benchmarks.serving.processes import busy_seconds, cpu_seconds
from benchmarks.serving.scenarios import Scale, Scenario, scenarios
from benchmarks.serving.server import Server, free_port
from benchmarks.serving.summary import Summary, summarize
from benchmarks.serving.workload import Workload

Progress = Callable[[str], None]

# Warms up everything that a server creates lazily, such as graphs for each batch size.
_WARM = Workload(clients=4, requests=16, min_requests=4, seconds=3)
_WARM_EIGHT = Workload(requests=2, objects=8)


class WrongAnswer(Exception):  # noqa: N818 - the name states what was found
    """A server's answer is wrong, so that its speed is meaningless."""


class Setup:
    """The setup that all servers of a run share.

    Args:
        folder: of the model.
        home: home folder of Maskery, with the model installed.
        key: API key of Maskery.
        images: folder of the images to send.
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
        self._model_costs: dict[tuple[str, str], dict[str, Any]] = {}

    def measure(self, contender: Contender, progress: Progress) -> dict[str, Any]:
        """Measure one server. Returns its part of the report.

        Raises:
            ServerFailed: it does not start.
            WrongAnswer: its first answer is not the expected mask.
            ClientsFailed: the clients' process ended.
            ModelFailed: the model does not run without a server.
        """
        progress(f"{contender.name}: starting")
        port = free_port()
        busy, began = busy_seconds(), time.perf_counter()
        with Server(contender.name, contender.start(port, self.folder, self.home), port, self.key) as server:
            ready = server.ready_seconds
            with ClientProcess(server.url, self.key, MODEL, self.images) as clients:
                before = time.perf_counter()
                self._first_answer(contender, clients)
                first = ready + time.perf_counter() - before
                progress(f"{contender.name}: warming up")
                if contender.keeps:
                    clients.run(_WARM)
                    clients.run(_WARM_EIGHT)
                seen = self._all(contender, server, clients, progress)
                memory = server.memory_bytes()
                mine = server.cpu_seconds() + cpu_seconds(clients.pid)
            seconds = time.perf_counter() - began
            others = max(0.0, busy_seconds() - busy - mine) / seconds / self.cores
        progress(f"{contender.name}: the model without a server")
        return {
            "precision": contender.precision,
            "colour": contender.colour,
            "own": contender.own,
            "keeps": contender.keeps,
            "ready_seconds": ready,
            "first_answer_seconds": first,
            "memory_bytes": memory,
            "seconds": seconds,
            "other_load": others,
            "model_cost": self._costs(contender),
            "scenarios": seen,
        }

    def _first_answer(self, contender: Contender, clients: ClientProcess) -> None:
        wrong = clients.check(1)
        if wrong is not None:
            raise WrongAnswer(f"{contender.name} answers wrongly: {wrong}")

    def _all(self, contender: Contender, server: Server, clients: ClientProcess, progress: Progress) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for each in scenarios(self.scale, contender.keeps):
            if contender.only and each.key not in contender.only:
                continue
            progress(f"{contender.name}: {each.title}")
            reason = self._reason_to_skip(each, seen, clients)
            if reason is not None:
                seen[each.key] = {"title": each.title, "skipped": reason}
                continue
            measured = _measure(each, server, clients)
            what = {"skipped": "no request was answered"} if measured is None else asdict(measured)
            seen[each.key] = {"title": each.title, **what}
        return seen

    def _reason_to_skip(self, scenario: Scenario, seen: dict[str, Any], clients: ClientProcess) -> str | None:
        known = seen.get("known", {}).get("p50")
        if scenario.workload.target == "prepared":
            why = clients.prepare(scenario.workload.images)
            return None if why is None else f"the server prepares no images ({why[:60]})"
        if scenario.known and known and known * scenario.workload.clients > self.scale.patience:
            return f"a round would take {known * scenario.workload.clients:.0f} s"
        return None

    def _costs(self, contender: Contender) -> dict[str, Any]:
        key = contender.engine, contender.precision
        if key not in self._model_costs:
            costs = model_cost.measure(*key, self.folder, self.cores, self.scale.model_seconds)
            self._model_costs[key] = {task: asdict(cost) for task, cost in costs.items()}
        return self._model_costs[key]


def _measure(scenario: Scenario, server: Server, clients: ClientProcess) -> Summary | None:
    stages, cpu = server.stages(), server.cpu_seconds()
    outcome, background = clients.run(scenario.workload, scenario.background)
    spent = server.cpu_seconds() - cpu
    after = server.stages()
    return summarize(outcome, background, spent, {stage: after[stage] - stages.get(stage, 0.0) for stage in after})
