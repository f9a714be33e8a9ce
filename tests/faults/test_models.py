"""Models that raise exceptions."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.running import APART, HERE, Answer, Server, Start, expected_eighths


@pytest.fixture(scope="module")
def server(start_for_all: Start) -> Server:
    return start_for_all(workers=1)


def assert_failed(answer: Answer) -> None:
    assert (answer.status, answer.code) == (500, "internal_error")
    assert answer.headers["x-request-id"] in answer.json["error"]["message"]
    assert b"Arithmetic" not in answer.body
    assert b"the model cannot" not in answer.body


@pytest.mark.parametrize(("model", "image"), [(APART, 10), (HERE, 11)])
def test_an_encoder_that_raises_fails_all_who_wait_and_is_tried_again_by_the_next(
    server: Server, model: str, image: int
) -> None:
    encode = f"encode-{image}"
    with (
        ThreadPoolExecutor(5) as clients,
        server.faults.told(f"hold-{encode}") as hold,
        server.faults.told(f"raise-{encode}"),
    ):
        asked = [clients.submit(server.ask, image, model=model) for _ in range(5)]
        server.wait_for_metric("maskery_requests_in_flight", 5)
        server.faults.wait_for(f"encode {image}")
        hold.unlink()
        answers = [each.result() for each in asked]
    for answer in answers:
        assert_failed(answer)
    assert len({answer.headers["x-request-id"] for answer in answers}) == 5
    assert server.log.count(f"the model cannot encode {image}") >= 5
    assert server.faults.begun(f"encode {image}") == 1
    assert server.ask(image, model=model).eighths == expected_eighths(image)
    assert server.faults.begun(f"encode {image}") == 2


def test_a_prompt_that_makes_the_decoder_raise_fails_alone(server: Server) -> None:
    assert server.ask(20).status == 200
    with (
        ThreadPoolExecutor(4) as clients,
        server.faults.told("hold-decode-40") as hold,
        server.faults.told("raise-decode-42"),
    ):
        first = clients.submit(server.ask, 20, 40)
        server.faults.wait_for("decode 40")
        calls = server.metric("maskery_decode_calls_total")
        asked = [clients.submit(server.ask, 20, column) for column in (41, 42, 43)]
        server.wait_for_metric("maskery_requests_in_flight", 4)
        # Their images are known and they wait for the only worker, in one call.
        server.wait_for_metric('maskery_queue_waiting{queue="decode"}', 1)
        hold.unlink()
        answers = [each.result() for each in asked]
    assert first.result().status == 200
    assert [answer.status for answer in answers] == [200, 500, 200]
    assert_failed(answers[1])
    assert answers[0].eighths == answers[2].eighths == expected_eighths(20)
    assert server.metric("maskery_decode_calls_total") >= calls + 2
    assert server.ask(20, 42).status == 200
