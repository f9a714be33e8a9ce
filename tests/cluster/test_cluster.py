"""What a cluster must hold: a click finds its image, load is shared, and no request is lost when replicas come and go.

The tests share one cluster and run in this order.
"""

import json
import os
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

import air
from tests.cluster.running import Cluster, Logged, click, click_all, load, processes
from tests.faults.running import eventually, image_file

pytestmark = [pytest.mark.services, pytest.mark.slow]

IMAGES = range(40)


def shuffled(times: int, seed: int) -> list[int]:
    images = [*IMAGES] * times
    random.Random(seed).shuffle(images)
    return images


def share_known(logged: Sequence[Logged]) -> float:
    return sum(each.embedding == "known" for each in logged) / len(logged)


def test_repeated_clicks_meet_the_replica_that_knows_the_image(cluster: Cluster) -> None:
    click_all(cluster, IMAGES, "first")
    first = cluster.logged("first", len(IMAGES))
    assert {each.embedding for each in first} == {"new"}
    assert len({each.replica for each in first}) == 3
    click_all(cluster, shuffled(6, seed=1), "repeated")
    repeated = cluster.logged("repeated", 6 * len(IMAGES))
    print(f"known: {share_known(repeated):.1%} of repeated clicks")
    assert share_known(repeated) >= 0.95


def test_without_affinity_every_replica_encodes_every_image(cluster: Cluster) -> None:
    images = [image + 100 for image in IMAGES]
    click_all(cluster, images, "spread-first")
    with ThreadPoolExecutor(16) as pool, cluster.client() as client:
        repeats = [image + 100 for image in shuffled(6, seed=2)]
        list(
            pool.map(
                lambda image: click(client, image, "test/quick", "spread", {"x-session-id": uuid.uuid4().hex}), repeats
            )
        )
    spread = cluster.logged("spread", len(repeats))
    print(f"known without affinity: {share_known(spread):.1%} of repeated clicks")
    assert share_known(spread) < 0.8
    assert sum(each.embedding == "new" for each in spread) > len(IMAGES)


def test_requests_without_a_session_id_are_spread_and_answered_with_it(cluster: Cluster) -> None:
    replicas = Counter()
    with httpx.Client(headers={"Authorization": f"Bearer {cluster.key}"}, timeout=60) as client:
        # A proxy learns of the last replica some time after it has started.
        deadline = time.monotonic() + 60
        while len(replicas) < 3 and time.monotonic() < deadline:
            form = {
                "image": image_file(300),
                "request": (None, json.dumps({"model": "test/quick", "segment_prompt": [[[8, 8]]]})),
            }
            response = client.post(f"{cluster.url}/v1/images/segmentations", files=form)
            assert response.status_code == 200
            session_id = response.headers["x-session-id"]
            replicas[response.headers["x-maskery-replica"]] += 1
        assert len(replicas) == 3
        repeated = Counter()
        for _ in range(10):
            response = client.post(
                f"{cluster.url}/v1/images/segmentations", files=form, headers={"x-session-id": session_id}
            )
            repeated[response.headers["x-maskery-replica"]] += 1
        assert len(repeated) == 1


def test_a_prepared_image_is_found_by_its_id(cluster: Cluster) -> None:
    with cluster.client() as client:
        images = [client.images.prepare(image_file(400 + number), "test/quick") for number in range(8)]
        for image in images * 3:
            # As another process has it: without the file, so that it cannot be uploaded again.
            client.images.segment(f"id:{image.id}", [[[8, 8]]], "test/quick")
        for image in images:
            client.images.delete(image)
        with pytest.raises(air.ImageNotPreparedError):
            client.images.segment(f"id:{images[0].id}", [[[8, 8]]], "test/quick")


def test_metrics_and_log_lines_are_of_each_replica(cluster: Cluster) -> None:
    key = cluster.store.keys.create("operators", scopes=["metrics"])[1]
    response = httpx.get(f"{cluster.url}/metrics", headers={"Authorization": f"Bearer {key}"})
    assert response.status_code == 200
    counts = [line for line in response.text.splitlines() if line.startswith("maskery_cache_images{")]
    assert {line.split('"')[1] for line in counts} == set(cluster.processes())
    assert response.text.count("# TYPE maskery_cache_images gauge") == 1
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    click_all(cluster, [500], "once", traceparent=f"00-{trace}-00f067aa0ba902b7-01")
    cluster.logged("once", 1)
    (line,) = [line for _, line in cluster.lines() if str(line.get("request_id", "")).startswith("once.")]
    assert line["trace"] == trace


def test_a_limit_of_sixty_a_minute_lets_sixty_through(cluster: Cluster) -> None:
    key = cluster.store.keys.create("limited", scopes=["segment"])[1]
    cluster.store.accounts.update("limited", {"requests_per_minute": 60})
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=60) as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.get(f"{cluster.url}/v1/images/img_none"), range(90)))
    counts = Counter(answer.status_code for answer in answers)
    assert counts == {404: 60, 429: 30}
    assert len({answer.headers["x-maskery-replica"] for answer in answers}) == 3


def test_a_revoked_key_is_refused_by_all_replicas_within_five_seconds(cluster: Cluster) -> None:
    record, key = cluster.store.keys.create("leaver", scopes=["segment"])

    def answers() -> Counter[tuple[str, int]]:
        with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
            found = [client.get(f"{cluster.url}/v1/models") for _ in range(20)]
        return Counter((answer.headers["x-maskery-replica"], answer.status_code) for answer in found)

    assert {status for _, status in answers()} == {200}
    cluster.store.keys.revoke(record.id)
    time.sleep(5)
    refused = answers()
    assert {status for _, status in refused} == {401}
    assert len({replica for replica, _ in refused}) == 3


def test_a_killed_replica_loses_no_request_and_its_images_are_encoded_once_by_the_others(cluster: Cluster) -> None:
    click_all(cluster, IMAGES, "before")
    before = cluster.processes()
    lost, pid = next(iter(before.items()))
    clients = 8
    with load(cluster, "killed", len(IMAGES), clients=clients) as answers:
        eventually(lambda: len(answers) > 20, "load")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(cluster.processes().keys() - before.keys()) == 1, "a replica in place of the lost one")
        time.sleep(3)
    # The lost replica may have answered requests whose lines it did not write any more, at most one for each client.
    logged = cluster.logged("killed", len(answers) - clients)
    assert lost not in cluster.processes()
    encoded = Counter((each.replica, each.image) for each in logged if each.embedding == "new")
    assert encoded, "the images of the lost replica have not been encoded again"
    assert set(encoded.values()) == {1}
    longest = max(later - earlier for earlier, later in pairwise(answers))
    print(f"{len(answers)} answers, {len(encoded)} images encoded again; longest pause {longest:.2f} s")


def test_requests_of_a_killed_replica_get_a_typed_error_that_clients_retry(cluster: Cluster) -> None:
    with cluster.client(max_retries=0) as client, ThreadPoolExecutor(12) as pool:
        waiting = [
            pool.submit(client.images.segment, image_file(600 + number), [[[8, 8]]], "test/long")
            for number in range(12)
        ]
        time.sleep(1)
        os.kill(next(iter(cluster.processes().values())), signal.SIGKILL)
        errors = [error for each in waiting if (error := each.exception())]
    assert errors
    assert len(errors) < len(waiting)
    for error in errors:
        assert isinstance(error, air.ServiceUnavailableError), repr(error)
        assert (error.code, error.retry_after) == ("replica_unavailable", 1.0)
        assert error.request_id
    eventually(lambda: len(cluster.processes()) == 3, "a replica in place of the lost one")


def rate(cluster: Cluster, phase: str, seconds: float = 8) -> float:
    """Requests per second of a model that takes 0.15 seconds, by clients that do not wait for images."""
    answers = 0
    end = time.monotonic() + seconds

    def work(seed: int) -> int:
        count = 0
        with cluster.client() as client:
            while time.monotonic() < end:
                # Empty: chosen by the number of requests of each replica.
                click(client, seed, "test/sleeping", phase, {"x-session-id": ""})
                count += time.monotonic() < end
        return count

    with ThreadPoolExecutor(24) as pool:
        answers = sum(pool.map(work, range(700, 724)))
    return answers / seconds


def test_three_replicas_answer_more_than_one_and_no_request_is_lost_when_replicas_come_and_go(
    cluster: Cluster,
) -> None:
    rate(cluster, "warm", 2)
    three = rate(cluster, "three")
    with load(cluster, "down", len(IMAGES), "test/sleeping", retries=0) as answers:
        eventually(lambda: len(answers) > 10, "load")
        cluster.redeploy(1)
        eventually(lambda: len(cluster.processes()) == 1, "one replica")
    one = rate(cluster, "one")
    print(f"{three:.1f} requests a second by three replicas, {one:.1f} by one: {three / one:.2f} times")
    assert three >= 2.7 * one
    with load(cluster, "up", len(IMAGES), retries=0) as answers:
        cluster.redeploy(3)
    before = cluster.processes()
    assert len(before) == 3
    with load(cluster, "rolling", len(IMAGES), "test/sleeping", retries=0) as answers:
        eventually(lambda: len(answers) > 10, "load")
        cluster.redeploy(3, processors=0.5)
        eventually(lambda: not before.keys() & cluster.processes().keys(), "all replicas to be replaced")
    assert len(cluster.logged("rolling", len(answers))) == len(answers)


def test_an_encoder_process_ends_with_its_replica(cluster: Cluster) -> None:
    click_all(cluster, [800], "apart", "test/apart")
    (logged,) = cluster.logged("apart", 1)
    pid = cluster.processes()[logged.replica]
    children = [child for child, status in processes("status") if f"\nPPid:\t{pid}\n" in status]
    assert children
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in children), "the encoder to end")
    eventually(lambda: len(cluster.processes()) == 3, "a replica in place of the lost one")


def test_at_sigterm_requests_are_answered_and_new_ones_refused(cluster: Cluster) -> None:
    with cluster.client(max_retries=0) as client, ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(click, client, 900 + number, "test/long", "last") for number in range(3)]
        time.sleep(1)
        cluster.process.send_signal(signal.SIGTERM)

        def is_refused() -> bool:
            try:
                client.models.list()
            except air.ServiceUnavailableError as error:
                return error.code in ("replica_unavailable", "stopping")
            return False

        eventually(is_refused, "new requests to be refused")
        for each in waiting:
            each.result()
    assert cluster.process.wait(60) == 0
