"""Errors: one type a status, a sentence to act on, never the key."""

import inspect
import pickle
import traceback

import pytest

import air
from air import errors

STATUSES = {
    400: air.BadRequestError,
    401: air.AuthenticationError,
    403: air.PermissionDeniedError,
    404: air.NotFoundError,
    413: air.PayloadTooLargeError,
    415: air.UnsupportedMediaTypeError,
    422: air.UnprocessableEntityError,
    429: air.RateLimitError,
    500: air.InternalServerError,
    503: air.ServiceUnavailableError,
    504: air.GatewayTimeoutError,
    418: air.APIStatusError,
}
ONCE = {"max_retries": 0}


@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
def test_each_status_has_its_type_and_says_what_the_server_said(twin, stub, status, kind):
    body = {"error": {"message": "point (9, 9) is outside", "type": "invalid", "param": "a[0]", "code": "out"}}
    stub.plays(stub.reply(status, body, {"x-request-id": "req_7", "Retry-After": "2"}))
    with pytest.raises(air.AirError) as caught:
        twin.segment(client=ONCE)
    error = caught.value
    assert type(error) is kind
    assert (error.status_code, error.message) == (status, "point (9, 9) is outside")
    assert (error.type, error.param, error.code) == ("invalid", "a[0]", "out")
    assert (error.request_id, error.body, error.retry_after) == ("req_7", body, 2)
    assert str(error) == f"{status}: point (9, 9) is outside [request req_7]"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"detail": "Not Found"}, "Not Found"),
        (
            {"detail": [{"loc": ["body", "boxes", 0], "msg": "too short"}, {"loc": ["body"], "msg": "odd"}]},
            "body.boxes[0]: too short; body: odd",
        ),
        ({"error": "plain"}, "plain"),
        ({"message": "gateway says no"}, "gateway says no"),
        ("bare text", "bare text"),
        ('"a JSON string"', "a JSON string"),
        (
            "<html><head><style>b {}</style><title>502</title></head><body><b>Bad\n gateway</b></body></html>",
            "502 Bad gateway",
        ),
        ("", "Unprocessable"),
        ({"detail": [1, 2]}, '{"detail": [1, 2]}'),
        ([1], "[1]"),
        ("x" * 1000, "x" * 300 + "…"),
    ],
)
def test_error_bodies_of_other_servers_and_proxies_become_a_message_too(twin, stub, body, sentence):
    stub.plays(stub.reply(422, body))
    with pytest.raises(air.UnprocessableEntityError) as caught:
        twin.segment()
    assert caught.value.message.startswith(sentence)
    assert caught.value.type is None
    assert caught.value.request_id is None


def test_an_unknown_status_without_a_body_is_an_error(twin, stub):
    stub.plays(stub.reply(599, ""))
    with pytest.raises(air.APIStatusError, match="599: no explanation given"):
        twin.segment()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("<html><body>Welcome to the hotel's network</body></html>", "expected JSON.*Welcome to the hotel's"),
        ("", "expected JSON"),
        ("[]", "body: "),
        ({"created": 1}, "data: Field required"),
        ({"created": "now", "data": []}, "created: "),
        ({"created": 1, "data": {}}, "data: "),
        ({"created": 1, "data": [{"label": 7}]}, r"data\[0\]\.label: "),
        ({"created": 1, "data": [{"score": "high"}]}, r"data\[0\]\.score: "),
        ({"created": 1, "data": [], "usage": {"input_tokens": 1}}, r"usage\.input_tokens_details: "),
    ],
)
def test_a_success_that_does_not_follow_the_api_is_a_bad_response(twin, stub, body, sentence):
    stub.plays(stub.reply(200, body, {"x-request-id": "req_8"}))
    with pytest.raises(air.BadResponseError, match=sentence) as caught:
        twin.segment()
    assert caught.value.status_code == 200
    assert caught.value.request_id == "req_8"
    assert caught.value.body == body if isinstance(body, dict) else True
    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [
        lambda stub, key: stub.error(401, message=f"Bearer {key} is not known", param=key),
        lambda stub, key: stub.reply(502, f"<p>{key}</p>"),
        lambda stub, key: stub.reply(200, f"you sent {key}"),
        lambda stub, key: stub.reply(200, {"created": key}),
        lambda stub, key: stub.hangs_up(),
        lambda stub, key: stub.silent(),
    ],
)
def test_no_error_or_traceback_contains_the_key_even_if_the_server_repeats_it(twin, stub, key, fault):
    stub.plays(fault(stub, key))
    with pytest.raises(air.AirError) as caught:
        twin.segment(client=ONCE, timeout=0.3)
    text = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(vars(caught.value))
    assert key not in text


def test_a_key_that_occurs_in_an_answer_does_not_change_it(twin, stub, make_answer, to_png64):
    """A short key may well be part of a mask's base64, and an id may be the key of a demo account."""
    body = make_answer(label="abcdef")
    key = body["data"][0]["b64_json"][20:26]
    stub.plays(stub.reply(200, body | {"echo": key}, {"x-request-id": key}))
    response = twin.segment(client={"api_key": key})
    assert response.data[0].b64_json == body["data"][0]["b64_json"]
    assert response["echo"] == key
    assert response.data[0].to_numpy().shape == (3, 4)


@pytest.mark.parametrize("stub", ["https"], indirect=True)
def test_an_untrusted_certificate_says_what_to_do(twin, stub, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(air.APIConnectionError, match=r"CERTIFICATE_VERIFY_FAILED.*SSL_CERT_FILE names a file"):
        twin.segment(client=ONCE)


def test_a_key_with_quotes_is_redacted_too(twin, stub):
    key = 'qu"ote\\d-key'
    stub.plays(stub.error(401, message=f"unknown key {key}"))
    with pytest.raises(air.AuthenticationError, match=r"unknown key \*\*\*") as caught:
        twin.segment(client={"api_key": key})
    assert key not in repr(vars(caught.value))


def test_every_error_survives_pickling(twin, stub):
    samples = [
        air.ConfigurationError("a"),
        air.MissingExtraError("b"),
        air.InputError("c"),
        air.MaskError("d"),
        air.APIConnectionError("e"),
        air.APITimeoutError("f"),
        air.BadResponseError("g", status_code=200, request_id="r", body=[1]),
        *(kind("h", status_code=status, retry_after=1.5) for status, kind in STATUSES.items()),
    ]
    for sample in samples:
        copy = pickle.loads(pickle.dumps(sample))
        assert (type(copy), str(copy), vars(copy)) == (type(sample), str(sample), vars(sample))


def test_the_tree_in_the_docstring_names_every_error_and_each_is_public():
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, air.AirError)]
    assert len(kinds) == 21
    for kind in kinds:
        assert f" {kind.__name__} " in errors.__doc__.replace("\n", " ")
        assert kind.__name__ in air.__all__


def test_input_and_mask_errors_are_value_errors_too():
    assert issubclass(air.InputError, ValueError)
    assert issubclass(air.MaskError, ValueError)
