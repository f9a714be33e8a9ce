import asyncio
import base64
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from benchmarks.serving import __main__ as program
from benchmarks.serving import images
from benchmarks.serving.bodies import Bodies
from benchmarks.serving.charts import draw
from benchmarks.serving.clients import Clients
from benchmarks.serving.contenders import MODEL, Start, contenders
from benchmarks.serving.processes import cpu_seconds, memory_bytes, session
from benchmarks.serving.report import grids, markdown, tables, time_text
from benchmarks.serving.scenarios import SCALES, scenarios
from benchmarks.serving.server import Server, ServerFailed, free_port, stage_seconds
from benchmarks.serving.summary import overhead, percentile, summarize
from benchmarks.serving.workload import Outcome, Workload

GOOD = {"data": [{"b64_json": "iVBO"}]}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return [file.read_bytes() for file in images.write(tmp_path_factory.mktemp("photos"), 3)]


@pytest.fixture(scope="module")
def bodies(photos: list[bytes]) -> Bodies:
    return Bodies(MODEL, photos)


def image_of(body: bytes) -> bytes:
    return base64.b64decode(json.loads(body)["image_prompt"], validate=True)


def drive(
    bodies: Bodies, answer: Any, workload: Workload, background: Workload | None = None
) -> tuple[Outcome, Outcome | None, list[dict[str, Any]]]:
    """Run a workload on a server that answers by a function. Returns the outcomes and the requests."""
    received: list[dict[str, Any]] = []

    async def handle(request: httpx.Request) -> httpx.Response:
        received.append(json.loads(request.content))
        await asyncio.sleep(0.001)
        return httpx.Response(**answer(len(received)))

    async def run() -> tuple[Outcome, Outcome | None]:
        async with httpx.AsyncClient(base_url="http://server", transport=httpx.MockTransport(handle)) as http:
            return await Clients(http, bodies).run(workload, background)

    return *asyncio.run(run()), received


def good(_: int) -> dict[str, Any]:
    return {"status_code": 200, "json": GOOD}


def test_images_are_two_megapixels_and_all_different(photos: list[bytes]) -> None:
    assert len(set(photos)) == 3
    for photo in photos:
        assert Image.open(io.BytesIO(photo)).size == (images.WIDTH, images.HEIGHT)
        assert 300_000 < len(photo) < 2_000_000


def test_a_known_image_keeps_its_bytes_while_the_clicks_change(bodies: Bodies, photos: list[bytes]) -> None:
    first, second = bodies.known(1, 0, 1), bodies.known(1, 1, 1)
    assert image_of(first) == image_of(second)
    assert json.loads(first)["segment_prompt"] != json.loads(second)["segment_prompt"]
    with Image.open(io.BytesIO(image_of(first))) as sent, Image.open(io.BytesIO(photos[1])) as file:
        assert sent.tobytes() == file.tobytes()


def test_a_new_image_has_bytes_that_no_other_has(bodies: Bodies) -> None:
    sent = {image_of(bodies.new(number, 0, 1)) for number in range(3 * len(bodies))}
    assert len(sent) == 3 * len(bodies)
    assert Image.open(io.BytesIO(sent.pop())).size == (images.WIDTH, images.HEIGHT)


def test_every_object_gets_a_click_within_the_image(bodies: Bodies) -> None:
    body = json.loads(bodies.prepared("id:7", 3, 8))
    assert body["model"] == MODEL
    assert body["image_prompt"] == "id:7"
    assert len(body["segment_prompt"]) == 8
    for ((x, y),) in body["segment_prompt"]:
        assert 0 < x < images.WIDTH
        assert 0 < y < images.HEIGHT


def test_clients_stop_at_the_number_of_requests(bodies: Bodies) -> None:
    outcome, background, received = drive(bodies, good, Workload(clients=4, requests=10))
    assert len(outcome.latencies) == len(received) == 10
    assert background is None
    assert outcome.errors == {}
    assert 0 < min(outcome.latencies) <= outcome.seconds


def test_clients_stop_when_the_time_is_up_but_not_before_min_requests(bodies: Bodies) -> None:
    outcome, *_ = drive(bodies, good, Workload(clients=2, requests=1000, seconds=0, min_requests=5))
    assert len(outcome.latencies) == 5


def test_new_images_go_on_while_clicks_are_measured(bodies: Bodies) -> None:
    work, others = Workload(requests=5, pause=0.01), Workload(target="new", requests=10**9)
    outcome, background, received = drive(bodies, good, work, others)
    assert len(outcome.latencies) == 5
    assert background is not None
    assert len(background.latencies) == len(received) - 5 > 0


def test_errors_are_counted_and_end_the_workload(bodies: Bodies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.serving.clients._PAUSE", 0)

    def refuse(number: int) -> dict[str, Any]:
        return {"status_code": 503, "text": "busy"} if number > 2 else good(number)

    outcome, *_ = drive(bodies, refuse, Workload(requests=1000))
    assert len(outcome.latencies) == 2
    assert outcome.errors == {"status 503: busy": 10}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"status_code": 405, "text": "no"}, "status 405: no"),
        ({"status_code": 201, "json": {"id": "abc"}}, None),
    ],
)
def test_images_are_prepared_where_the_server_can(bodies: Bodies, answer: dict[str, Any], said: str | None) -> None:
    received: list[dict[str, Any]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        received.append(json.loads(request.content))
        return httpx.Response(**(answer if request.url.path == "/v1/images" else good(0)))

    async def run() -> None:
        async with httpx.AsyncClient(base_url="http://server", transport=httpx.MockTransport(handle)) as http:
            clients = Clients(http, bodies)
            assert await clients.prepare(1) == said
            if said is None:
                await clients.run(Workload(target="prepared"), None)
                assert received[-1]["image_prompt"] == "id:abc"

    asyncio.run(run())
    assert set(received[0]) == {"model", "image_prompt"}


@pytest.mark.parametrize(
    ("samples", "share", "value"),
    [([3, 1, 2], 0.5, 2), ([1, 2], 0.5, 1), (range(1, 101), 0.95, 95), (range(1, 101), 0.99, 99), ([5], 0.99, 5)],
)
def test_percentiles_are_samples(samples: Any, share: float, value: float) -> None:
    assert percentile(samples, share) == value


def test_statistics_of_an_outcome() -> None:
    background = Outcome([4.0, 6.0], 10, {"timeout": 1})
    seen = summarize(Outcome([0.1, 0.3, 0.2], 2.0), background, cpu=0.6, stages={"decode": 0.3})
    assert seen is not None
    assert (seen.answers, seen.throughput, seen.p50, seen.p95) == (3, 1.5, 0.2, 0.3)
    assert seen.cpu == pytest.approx(0.2)
    assert seen.stages == {"decode": pytest.approx(0.1)}
    assert seen.background == {"answers": 2.0, "p50": 4.0}
    assert seen.errors == {"background: timeout": 1}
    assert summarize(Outcome(), None, 0, {}) is None


def test_overhead_is_the_cpu_time_beyond_the_models_own() -> None:
    alone = {"encode": {"cpu": 4.0}, "decode 1": {"cpu": 0.04}}
    assert overhead({"cpu": 0.05}, alone, ["decode 1"]) == pytest.approx((0.01, 0.04))
    assert overhead({"cpu": 4.1}, alone, ["encode", "decode 1"]) == pytest.approx((0.06, 4.04))


def test_stages_are_summed_over_models() -> None:
    text = """# TYPE maskery_stage_seconds histogram
maskery_stage_seconds_bucket{le="0.1",model="a",stage="decode"} 3.0
maskery_stage_seconds_sum{model="a",stage="decode"} 0.25
maskery_stage_seconds_sum{model="b",stage="decode"} 0.5
maskery_stage_seconds_sum{stage="write",model="a"} 1e-3
maskery_stage_seconds_count{model="a",stage="decode"} 3.0
"""
    assert stage_seconds(text) == {"decode": 0.75, "write": 0.001}
    assert stage_seconds("nothing of the kind") == {}


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("keeps", [True, False])
def test_every_scenario_ends_and_clicks_are_alike_with_and_without_load(scale: Any, keeps: bool) -> None:
    every = {each.key: each for each in scenarios(scale, keeps)}
    assert {"new", "known", "prepared", "eight", "new, 4 clients", "one image, 16 clients"} <= set(every)
    assert {f"many images, {count}" for count in ("1 client", "4 clients", "16 clients")} <= set(every)
    for each in every.values():
        assert each.workload.requests <= 1000
        assert each.workload.min_requests >= each.workload.clients or each.workload.clients == 1
    assert every["idle"].workload == every["loaded"].workload
    assert every["loaded"].background is not None
    assert not every["new"].known
    assert every["eight"].known


def test_contenders_name_existing_scenarios() -> None:
    keys = {each.key for each in scenarios(SCALES["base"], True)}
    every = contenders("bf16")
    assert len({each.name for each in every.values()}) == len(every)
    for each in every.values():
        assert set(each.only) <= keys
    command = every["cache-unlocked"].start(1, Path("folder"), Path("home")).command
    assert command[-1] == "--no-lock"
    assert every["maskery-bf16"].start(1, Path("folder"), Path("home")).environment["MASKERY_PRECISION"] == "bf16"
    assert "maskery-bf16" not in contenders("f32")


def test_a_server_is_found_with_its_children_and_ended() -> None:
    child = "import time; time.sleep(60)"
    code = f"""
import http.server, subprocess, sys
subprocess.Popen([sys.executable, "-c", {child!r}])
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health/ready" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready).serve_forever()
"""
    port = free_port()
    start = Start([sys.executable, "-c", code, str(port)], {})
    with Server("a server", start, port, "key") as server:
        assert server.stages() == {}
        assert server.cpu_seconds() > 0
        assert server.memory_bytes() > 2**20
        leader = server._process.pid
        assert len(list(session(leader))) == 2
    assert not [pid for pid in session(leader) if memory_bytes(pid)]
    assert cpu_seconds(leader) == 0


def test_a_server_that_does_not_start_says_why() -> None:
    start = Start([sys.executable, "-c", "raise SystemExit('no model')"], {})
    with pytest.raises(ServerFailed, match="a server ended with status 1 and printed: no model"):
        Server("a server", start, free_port(), "key")


def test_a_folder_is_completed_without_touching_the_linked_file(tmp_path: Path) -> None:
    original, copy = tmp_path / "original.json", tmp_path / "preprocessor_config.json"
    original.write_text(json.dumps({"size": {"longest_edge": 256}}))
    copy.hardlink_to(original)
    program.complete(tmp_path)
    assert json.loads(copy.read_text())["pad_size"] == {"height": 256, "width": 256}
    assert "pad_size" not in original.read_text()


def test_without_torch_one_sentence_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert program.main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("torch is not installed")
    assert "make bench-serving" in line


def test_an_unknown_server_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(["--servers", "plain,fast"])
    assert "unknown server 'fast'" in capsys.readouterr().err


def example() -> dict[str, Any]:
    """A report: one plain server, one of ours ten times as fast, with an error and a scenario left out."""
    alone = {task: {"cpu": 0.1, "wall": 0.05, "calls": 3} for task in ("encode", "decode 1", "decode 8")}
    servers: dict[str, Any] = {}
    for contender, seconds in ((contenders("bf16")["cache"], 1.0), (contenders("bf16")["maskery-bf16"], 0.1)):
        seen: dict[str, Any] = {}
        for each in scenarios(SCALES["small"], True):
            slow = seconds * (3 if each.key == "loaded" else 1)
            measured = summarize(
                Outcome([slow] * 4, 4 * slow),
                Outcome([5.0], 5.0) if each.background else None,
                cpu=0.5,
                stages={"decode": 0.2} if contender.own else {},
            )
            assert measured is not None
            seen[each.key] = {"title": each.title, **vars(measured)}
        servers[contender.name] = {
            **{name: getattr(contender, name) for name in ("precision", "colour", "own", "keeps")},
            "ready_seconds": 3.0,
            "first_answer_seconds": 4.0,
            "memory_bytes": 2**30,
            "seconds": 60.0,
            "other_load": 0.02,
            "model_cost": alone,
            "scenarios": seen,
        }
    servers["plain f32, cache"]["scenarios"]["prepared"] = {"title": "a prepared image", "skipped": "it cannot"}
    servers["maskery bf16"]["scenarios"]["known"]["errors"] = {"status 503": 2}
    return {
        "title": "a title",
        "machine": {"processor": "a processor", "cores": 2, "python": "3.11"},
        "versions": {"torch": "2"},
        "seconds": 120.0,
        "image_bytes": 700_000.0,
        "servers": servers,
        "failed": {"maskery f32": "maskery f32 ended with status 1"},
    }


def test_the_report_compares_and_names_failures(tmp_path: Path) -> None:
    report = example()
    text = markdown(report)
    assert "| a new image, 1 client | plain f32, cache | 4 | 1 | 1 s | 1 s | 1 s | – | 1.0× |" in text
    assert "|  | maskery bf16 | 4 | 10 | 100 ms | 100 ms | 100 ms | – | 10.0× |" in text
    assert "| maskery bf16 | 100 ms | 100 ms | 300 ms | 300 ms | 3.0× | 4; 4 | 1 | 5 s |" in text
    assert "| maskery bf16 | a known image | 125 ms | 100 ms | 25 ms | 25.0% |" in text
    assert "| maskery bf16 | decode | 50 ms |" in text
    assert "4, **2 errors**" in text
    assert "**errors** of maskery bf16, a known image, 1 client: 2 × status 503" in text
    assert "not measured for plain f32, cache, a prepared image: it cannot" in text
    assert "- **failed**: maskery f32 ended with status 1" in text
    assert "quiet machine" not in text
    report["servers"]["maskery bf16"]["other_load"] = 0.5
    assert "other programs used up to 50% of its cores" in markdown(report)
    assert len(list(tables(report))) == len(grids(report)) + 1
    draw(report, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"latency.png", "load.png"}


def test_charts_need_no_clicks_and_no_concurrent_clients(tmp_path: Path) -> None:
    report = example()
    for server in report["servers"].values():
        server["scenarios"] = {"new": server["scenarios"]["new"]}
    draw(report, tmp_path)
    assert "while new images of other clients" not in markdown(report)


def test_times_are_written_with_three_digits() -> None:
    assert [time_text(each) for each in (12.345, 0.0123, -0.5)] == ["12.3 s", "12.3 ms", "−500 ms"]


def test_a_contender_passes_its_precision_on() -> None:
    contender = contenders("bf16")["plain"]
    assert replace(contender, precision="bf16").start(1, Path(), Path()).command[-1] == "bf16"
