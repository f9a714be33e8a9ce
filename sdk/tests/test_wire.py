"""What stands on the wire, byte for byte where it matters."""

import json
import platform
from email import message_from_bytes

import numpy as np
import pytest

import air

POINTS = [[[450, 600], [10.5, 20]], [[3, 4]]]


def test_segment_posts_the_documented_body_to_the_documented_path(twin, stub):
    twin.run(lambda client: client.images.segment("aW1hZ2U=", POINTS, "some/model"))
    assert (stub.request.method, stub.request.path) == ("POST", "/v1/images/segmentations")
    assert stub.request.json == {
        "model": "some/model",
        "image_prompt": "aW1hZ2U=",
        "segment_prompt": POINTS,
        "extra_body": None,
    }


def test_boxes_may_say_it_all(twin, stub):
    twin.segment(prompt=None, boxes=[[1, 2, 3, 4]])
    assert stub.request.json["segment_prompt"] is None
    assert stub.request.json["boxes"] == [[1, 2, 3, 4]]


def test_the_first_six_arguments_may_be_positional(twin, stub):
    twin.run(lambda c: c.images.segment("aW1hZ2U=", POINTS, "some/model", 7.0, {"X-Mine": "yes"}, {"deep": 1}))
    assert stub.request.json["extra_body"] == {"deep": 1}
    assert stub.request.headers["x-mine"] == "yes"
    assert 6 < float(stub.request.headers["x-request-timeout"]) <= 7


def test_every_request_carries_the_key_and_the_sdks_version(twin, stub, key):
    twin.segment()
    headers = stub.request.headers
    assert headers["authorization"] == f"Bearer {key}"
    assert headers["content-type"] == "application/json"
    assert headers["accept"] == "application/json"
    assert headers["sdk_version"] == air.__version__
    assert headers["user-agent"] == f"maskery-sdk/{air.__version__} python/{platform.python_version()}"


def test_options_are_sent_at_the_top_level_unless_left_out(twin, stub):
    options = {
        "point_labels": [[1, 0], None],
        "boxes": [None, [0, 0, 5.5, 5]],
        "mask_prompts": [None, {"size": [2, 2], "counts": "04"}],
        "n": 3,
        "size": "640x480",
        "exif": "ignore",
        "response_format": "rle",
        "polygon_tolerance": 1.5,
        "compose": False,
        "merge_iou": 0.8,
        "user": "ann",
    }
    twin.segment(prompt=POINTS, **options)
    sent = stub.request.json
    assert {name: sent[name] for name in options} == options
    assert len(sent) == len(options) + 4


def test_unknown_parameters_are_sent_unchanged(twin, stub):
    twin.segment(novelty=[1, 2], absent=None, upload="theirs")
    assert stub.request.json["novelty"] == [1, 2]
    assert stub.request.json["upload"] == "theirs"
    assert stub.request.json["absent"] is None


def test_the_timeout_is_sent_in_a_header_and_not_in_the_body(twin, stub):
    twin.segment(timeout=12)
    assert "timeout" not in stub.request.json
    assert 11 < float(stub.request.headers["x-request-timeout"]) <= 12


def test_the_clients_timeout_holds_where_the_call_names_none(twin, stub):
    twin.segment()
    assert 59 < float(stub.request.headers["x-request-timeout"]) <= 60
    twin.segment(client={"timeout": 30})
    assert 29 < float(stub.requests[-1].headers["x-request-timeout"]) <= 30


def test_extra_headers_override_default_headers_in_any_case_of_letters(twin, stub):
    client = {"default_headers": {"X-Team": "a", "USER-AGENT": "mine"}}
    twin.segment(client=client, extra_headers={"x-tEAM": "b", "SDK_Version": "0", "X-Request-Timeout": "3"})
    assert stub.request.headers["x-team"] == "b"
    assert stub.request.headers["user-agent"] == "mine"
    assert stub.request.headers["sdk_version"] == "0"
    assert stub.request.headers["x-request-timeout"] == "3"


def test_multipart_sends_the_file_itself_and_the_rest_as_json(twin, stub):
    image = bytes(range(256)) * 4
    # A default Content-Type, which users of the reference API set, must not break the form's.
    client = {"upload": "multipart", "default_headers": {"content-type": "application/json"}}
    twin.segment(image, POINTS, client, n=2)
    head = f"Content-Type: {stub.request.headers['content-type']}\r\n\r\n".encode()
    form = message_from_bytes(head + stub.request.body)
    parts = {part.get_param("name", header="content-disposition"): part for part in form.get_payload()}
    assert set(parts) == {"image", "request"}
    assert parts["image"].get_payload(decode=True) == image
    assert parts["image"].get_filename() == "image"
    fields = json.loads(parts["request"].get_payload(decode=True))
    assert fields == {"model": "some/model", "segment_prompt": POINTS, "extra_body": None, "n": 2}


@pytest.mark.parametrize("text", ["aGVsbG8=", "data:image/png;base64,aGVsbG8=", "aGVs\nbG8="])
def test_multipart_decodes_base64_text(twin, stub, text):
    twin.segment(text, client={"upload": "multipart"})
    assert b"\r\n\r\nhello\r\n" in stub.request.body


def test_multipart_refuses_text_that_is_not_base64(twin, stub):
    with pytest.raises(air.InputError, match="not base64"):
        twin.segment("no!", client={"upload": "multipart"})
    assert stub.requests == []


def test_numpy_numbers_are_accepted_anywhere(twin, stub):
    twin.segment(
        prompt=np.array([[[1, 2]]]),
        point_labels=np.array([[True]]),
        boxes=[np.array([0, 0, 1.5, 2])],
        n=np.int64(2),
        merge_iou=np.float32(0.5),
        extra_body={"deep": np.arange(2)},
    )
    sent = stub.request.json
    assert sent["segment_prompt"] == [[[1, 2]]]
    assert sent["point_labels"] == [[1]]
    assert sent["point_labels"][0][0] is not True
    assert sent["boxes"] == [[0, 0, 1.5, 2]]
    assert (sent["n"], sent["merge_iou"], sent["extra_body"]) == (2, 0.5, {"deep": [0, 1]})


def test_numpy_scalars_are_accepted_for_every_option(twin, stub):
    twin.segment(
        timeout=np.int64(5),
        n=np.uint8(2),
        compose=np.bool_(False),
        merge_iou=np.float64(0.5),
        size=(np.int64(6), np.int16(4)),
        user=np.str_("ann"),
        exif=np.str_("apply"),
        novelty={"deep": np.float32(1.5)},
    )
    sent = stub.request.json
    assert (sent["n"], sent["compose"], sent["merge_iou"], sent["size"]) == (2, False, 0.5, "6x4")
    assert (sent["user"], sent["exif"], sent["novelty"]) == ("ann", "apply", {"deep": 1.5})
    assert 4 < float(stub.request.headers["x-request-timeout"]) <= 5


@pytest.mark.parametrize("arguments", [{"merge_iou": float("nan")}, {"extra_body": [float("inf")]}])
def test_nan_and_infinity_in_options_are_refused_before_sending(twin, stub, arguments):
    with pytest.raises(air.InputError, match="NaN or infinity"):
        twin.segment(**arguments)
    assert stub.requests == []


def test_objects_that_json_lacks_are_refused_before_sending(twin, stub):
    with pytest.raises(air.InputError, match="set is not JSON serializable"):
        twin.segment(extra_body={1, 2})
    assert stub.requests == []


def test_listing_models_is_a_get_without_a_body(twin, stub):
    stub.plays(stub.reply(200, {"object": "list", "data": []}))
    twin.run(lambda client: client.models.list())
    assert (stub.request.method, stub.request.path, stub.request.body) == ("GET", "/v1/models", b"")


def test_validating_is_a_post_without_a_body_that_says_json(twin, stub, key):
    stub.plays(stub.reply(200, {"organization_id": "org"}))
    twin.run(lambda client: client.validate())
    assert (stub.request.method, stub.request.path, stub.request.body) == ("POST", "/authentication/validate", b"")
    assert stub.request.headers["content-type"] == "application/json"
    assert stub.request.headers["authorization"] == f"Bearer {key}"


def test_one_pool_of_connections_serves_all_calls_of_a_client(twin, stub):
    if twin.kind == "sync":
        twin.run(lambda client: [client.images.segment("aW1hZ2U=", POINTS, "m") for _ in range(3)])
    else:

        async def three(client):
            for _ in range(3):
                await client.images.segment("aW1hZ2U=", POINTS, "m")

        twin.run(three)
    assert len({request.connection for request in stub.requests}) == 1
    assert len(stub.requests) == 3


def test_a_redirect_is_an_error_and_the_key_does_not_follow_it(twin, stub):
    stub.plays(stub.reply(307, "", {"Location": f"{stub.url}/elsewhere"}))
    with pytest.raises(air.APIStatusError, match=r"redirects to .*/elsewhere.*base_url") as caught:
        twin.segment()
    assert caught.value.status_code == 307
    assert len(stub.requests) == 1
