"""Requests for one image have the same `x-session-id`, by which a proxy sends them to the server that knows it."""

import base64
import hashlib

import pytest

FILE = b"\x89PNG\r\n of some kind"
SESSION_ID = hashlib.sha256(FILE).hexdigest()[:32]
ID = f"img_{SESSION_ID}_xyz"


@pytest.mark.parametrize("upload", ["json", "multipart"])
def test_bytes_a_path_and_base64_of_one_file_have_one_session_id(twin, stub, tmp_path, upload):
    text = base64.b64encode(FILE).decode()
    (tmp_path / "image.png").write_bytes(FILE)
    for image in (FILE, tmp_path / "image.png", text, f"data:image/png;base64,{text}"):
        twin.segment(image, client={"upload": upload})
        assert stub.requests[-1].headers["x-session-id"] == SESSION_ID
    twin.segment(FILE + b" and more", client={"upload": upload})
    assert stub.requests[-1].headers["x-session-id"] != SESSION_ID


def test_the_orientation_does_not_change_the_session_id(twin, stub):
    twin.segment(FILE, exif="ignore")
    assert stub.request.headers["x-session-id"] == SESSION_ID


def test_text_that_is_not_base64_is_sent_without_a_session_id(twin, stub):
    twin.segment("no-base64_")
    assert "x-session-id" not in stub.request.headers


def test_a_callers_own_session_id_is_kept(twin, stub):
    twin.segment(FILE, extra_headers={"X-Session-Id": "mine"})
    assert stub.request.headers["x-session-id"] == "mine"


def test_a_prepared_image_is_uploaded_segmented_and_deleted_with_its_session_id(twin, stub, make_answer):
    prepared = {"id": ID, "width": 4, "height": 3, "expires_in": 60}
    stub.plays(stub.reply(201, prepared), stub.reply(200, make_answer()), stub.reply(200, make_answer()))
    image = twin.run(lambda client: client.images.prepare(FILE, "some/model"))
    twin.segment(image)
    twin.segment(f"id:{ID}")
    stub.plays(stub.reply(204, ""))
    twin.run(lambda client: client.images.delete(image))
    assert [request.headers["x-session-id"] for request in stub.requests] == [SESSION_ID] * 4


def test_an_id_without_a_session_id_in_it_is_sent_without(twin, stub, make_answer):
    twin.segment("id:img_short")
    assert "x-session-id" not in stub.request.headers


def test_a_callers_trace_context_is_sent_with_an_image_and_with_its_upload(twin, stub, make_answer):
    trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    prepared = {"id": ID, "width": 4, "height": 3, "expires_in": 60}
    stub.plays(stub.reply(201, prepared), stub.reply(200, make_answer()))
    image = twin.run(lambda client: client.images.prepare(FILE, "some/model", extra_headers=trace))
    twin.segment(image, extra_headers=trace)
    assert [request.headers["traceparent"] for request in stub.requests] == [trace["traceparent"]] * 2
