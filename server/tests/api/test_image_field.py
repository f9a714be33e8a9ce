"""Decoding the image in place gives the same result as parsing the whole body."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskery.api.errors import ApiError
from maskery.api.requests.image_field import TAKEN, decode_image, take_image
from maskery.api.requests.json_object import parse_json_object

IMAGE = bytes(range(256))
BASE64 = base64.b64encode(IMAGE).decode()


@pytest.mark.parametrize(
    "text",
    [
        '{"model": "m", "image_prompt": "%s", "segment_prompt": [[[1, 2]]]}',
        '{"image_prompt":"%s"}',
        '\ufeff{\n\t"image_prompt" \r\n : "data:image/png;base64,%s" , "user": "\u00fc, \\u00fc"}',
        '{"image_prompt": "DATA:;Base64,%s"}',
    ],
)
def test_a_plain_base64_image_is_decoded_in_place(text: str) -> None:
    fields, image = take_image((text % BASE64).encode())
    assert image == IMAGE
    assert fields == {**parse_json_object((text % BASE64).encode()), "image_prompt": TAKEN}


@pytest.mark.parametrize(
    "text",
    [
        '{"image_prompt": "id:0123"}',
        '{"image_prompt": ""}',
        '{"image_prompt": "data:image/png;base64,"}',
        '{"image_prompt": "YWJ"}',
        '{"image_prompt": "YW Jj"}',
        '{"image_prompt": "YWJj\\n"}',
        '{"image_prompt": "YWJ\\u006a"}',
        '{"image_prompt": "data:image/png;base64,data:image/png;base64,YWJj"}',
        '{"image_prompt": ["YWJj"]}',
        '{"image_prompt": null}',
        '{"image\\u005fprompt": "YWJj"}',
        '{"user": "image_prompt"}',
        '{"user": "\\"image_prompt\\": \\"YWJj\\""}',
        '{"extra_body": {"image_prompt": "YWJj"}}',
        '{"extra_body": {"image_prompt": "YWJj"}, "image_prompt": "ZGVm"}',
        '{"mask_prompts": [{"image_prompt": "YWJj"}], "image_prompt": "-"}',
        "{}",
    ],
)
def test_other_values_are_left_unchanged(text: str) -> None:
    assert take_image(text.encode()) == (json.loads(text), None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '"image_prompt": "YWJj"',
        '["image_prompt", "YWJj"]',
        '{"image_prompt": "YWJj',
        '{"image_prompt": "YWJj"',
        '{"image_prompt": "YWJj"}}',
        '{"image_prompt": "YWJj", "image_prompt": "YWJj"}',
        '{"image\\u005fprompt": "YWJj", "image_prompt": "YWJj"}',
        '{"image_prompt": "YWJj", "user": "\\ud800"}',
        '{"image_prompt": "YWJj", "boxes": ' + "[" * 20 + "]" * 20 + "}",
        '{"image_prompt": "YWJj", "boxes": [' + "0," * 1_000_000 + "0]}",
        '{"image_prompt": "YWJj", "n": ' + "9" * 5000 + "}",
        '{"image_prompt": "YWJj",\n "n": nul}',
    ],
)
def test_errors_equal_those_of_the_json_parser(text: str) -> None:
    with pytest.raises(ApiError) as whole:
        parse_json_object(text.encode())
    with pytest.raises(ApiError) as taken:
        take_image(text.encode())
    assert (taken.value.status, taken.value.message, taken.value.param) == (
        whole.value.status,
        whole.value.message,
        whole.value.param,
    )


def test_invalid_utf_8_beside_an_image_is_rejected() -> None:
    with pytest.raises(ApiError, match="not UTF-8"):
        take_image(b'{"image_prompt": "YWJj", "user": "\xff"}')
    with pytest.raises(ApiError, match="not UTF-8"):
        take_image(b'{"image_prompt": "YW\xff="}')


pieces = st.sampled_from(
    [
        *('"image_prompt"', '"image_prompt":', '"image_prompt": "YWJj"', '{"image_prompt": "data:;base64,'),
        *('"user"', '"x": "YWJj"', "data:image/png;base64,", "YWJj", "YW==", "=", "null"),
        *('"', ":", ",", "{", "}", "[", "]", " ", "\\"),
    ]
)


def outcome(read: Any, body: bytes) -> Any:
    try:
        return read(body)
    except ApiError as error:
        return error.status, error.message, error.param


def whole(body: bytes) -> tuple[dict[str, Any], bytes]:
    fields = parse_json_object(body)
    return {**fields, "image_prompt": TAKEN}, decode_image(fields["image_prompt"])


@settings(deadline=None)
@given(st.lists(pieces, max_size=14).map("".join))
def test_both_parsers_agree_on_any_body(text: str) -> None:
    for body in (text.encode(), f'{{"model": "m", {text}}}'.encode()):
        answer = outcome(take_image, body)
        if isinstance(answer[1], bytes):
            assert answer == whole(body)
        else:
            expected = outcome(parse_json_object, body)
            assert answer == (expected if isinstance(expected, tuple) else (expected, None))


@settings(deadline=None)
@given(st.binary(min_size=1), st.sampled_from(["", "data:image/jpeg;base64,"]), st.integers(1, 80))
def test_line_breaks_in_base64_are_accepted(data: bytes, head: str, every: int) -> None:
    text = base64.b64encode(data).decode()
    broken = "\r\n".join(text[start : start + every] for start in range(0, len(text), every))
    assert decode_image(head + text) == decode_image(head + broken + "\n") == data


@pytest.mark.parametrize(
    "text", ["YWJj=YWJj", "YWJ", "YWJjZ", "=YWJj", "YW=Jj", "YWJj====", "YWJ-", "YWJ\u00e9", "\ud800"]
)
def test_invalid_base64_is_rejected(text: str) -> None:
    with pytest.raises(ApiError, match="not base64"):
        decode_image(text)
