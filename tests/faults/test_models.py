"""Models that raise exceptions."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.running import QUICK, SLOW, Answer, Server, Start, expected_eighths


@pytest.fixture(scope="module")
def server(start_for_all: Start) -> Server:
    return start_for_all(workers=1)


def assert_failed(answer: Answer) -> None:
    assert (answer.status, answer.code) == (500, "internal_error")
    assert answer.headers["x-request-id"] in answer.json["error"]["message"]
    assert b"Arithmetic" not in answer.body
    assert b"the model cannot" not in answer.body


@pytest.mark.parametrize(("model", "image"), [(SLOW, 10), (QUICK, 11)])
def test_an_exception_in_encoding_fails_all_requests_for_the_image_and_the_next_tries_again(
    server: Server, model: str, image: int
) -> None:
    encode = f"encode-{image}"
    with (
        ThreadPoolExecutor(5) as clients,
        server.faults.set(f"hold-{encode}") as hold,
        server.faults.set(f"raise-{encode}"),
    ):
        pending = [clients.submit(server.segment, image, model=model) for _ in range(5)]
        server.wait_for_metric("maskery_requests_in_flight", 5)
        server.faults.wait_for(f"encode {image}")
        hold.unlink()
        answers = [each.result() for each in pending]
    for answer in answers:
        assert_failed(answer)
    assert len({answer.headers["x-request-id"] for answer in answers}) == 5
    assert server.log.count(f"the model cannot encode {image}") >= 5
    assert server.faults.begun(f"encode {image}") == 1
    assert server.segment(image, model=model).eighths == expected_eighths(image)
    assert server.faults.begun(f"encode {image}") == 2


def test_a_prompt_that_raises_in_decoding_fails_alone(server: Server) -> None:
    assert server.segment(20).status == 200
    with (
        ThreadPoolExecutor(4) as clients,
        server.faults.set("hold-decode-40") as hold,
        server.faults.set("raise-decode-42"),
    ):
        first = clients.submit(server.segment, 20, 40)
        server.faults.wait_for("decode 40")
        calls = server.metric("maskery_decode_calls_total")
        pending = [clients.submit(server.segment, 20, column) for column in (41, 42, 43)]
        server.wait_for_metric("maskery_requests_in_flight", 4)
        # The image is known, and they wait in one call for the only worker.
        server.wait_for_metric('maskery_queue_waiting{queue="decode"}', 1)
        hold.unlink()
        answers = [each.result() for each in pending]
    assert first.result().status == 200
    assert [answer.status for answer in answers] == [200, 500, 200]
    assert_failed(answers[1])
    assert answers[0].eighths == answers[2].eighths == expected_eighths(20)
    assert server.metric("maskery_decode_calls_total") >= calls + 2
    assert server.segment(20, 42).status == 200
