"""Responses to valid requests."""

import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from samples import MODEL, b64, png, squares, values_of

from maskery.segmentation import Size, rle

ROUTE = "/v1/images/segmentations"


@pytest.fixture
def client(shared_client: httpx.Client) -> httpx.Client:
    return shared_client


def segment(client: httpx.Client, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    response = client.post(ROUTE, json={**body, **more})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_a_click_becomes_a_mask(client: httpx.Client, body: dict[str, Any]) -> None:
    answer = segment(client, body)
    assert set(answer) == {"created", "data", "usage"}
    assert isinstance(answer["created"], int)
    (mask,) = answer["data"]
    assert mask["label"] is None
    assert 0 <= mask["score"] <= 1
    assert (mask["width"], mask["height"]) == (96, 64)
    values = values_of(answer)
    assert values.dtype == np.uint8
    assert values.shape == (64, 96)
    assert values[20, 20] == 1
    assert values[40, 70] == 0
    (only,) = mask["segments"]
    assert only["value"] == 1
    assert only["prompts"] == [0]
    assert only["area"] == np.count_nonzero(values)
    assert "rle" not in only
    assert "polygons" not in only


def test_usage_counts_the_tokens_of_prompt_and_masks(client: httpx.Client, body: dict[str, Any]) -> None:
    prompt = {"segment_prompt": [[[20, 20], [25, 25]], None], "boxes": [None, [50, 20, 90, 60]]}
    usage = segment(client, body, **prompt)["usage"]
    details = usage["input_tokens_details"]
    assert details["point_tokens"] == 4
    assert details["image_tokens"] > 0
    assert usage["input_tokens"] == sum(details.values())
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["output_tokens"] >= 2


def test_objects_have_the_values_of_their_indices(client: httpx.Client, body: dict[str, Any]) -> None:
    values = values_of(segment(client, body, segment_prompt=[[[70, 40]], [[20, 20]]]))
    assert values[40, 70] == 1
    assert values[20, 20] == 2


def test_a_point_labelled_0_is_excluded(client: httpx.Client, body: dict[str, Any]) -> None:
    answer = segment(client, body, segment_prompt=[[[20, 20], [70, 40]]], point_labels=[[1, 0]])
    values = values_of(answer)
    assert values[20, 20] == 1
    assert values[40, 70] == 0


def test_a_box_prompts_an_object(client: httpx.Client, body: dict[str, Any]) -> None:
    values = values_of(segment(client, body, segment_prompt=None, boxes=[[52, 22, 88, 58]]))
    assert values[40, 70] == 1
    assert values[20, 20] == 0


def test_mask_prompts_in_both_formats(client: httpx.Client, body: dict[str, Any]) -> None:
    start = np.zeros((64, 96), np.uint8)
    start[30:50, 60:80] = 255
    as_rle = rle.encode(start > 0, (0, 0), Size(96, 64))
    for form in (b64(png(start)), as_rle):
        values = values_of(segment(client, body, segment_prompt=None, mask_prompts=[form]))
        assert values[40, 70] == 1
        assert values[20, 20] == 0


def test_the_same_object_twice_is_one_segment(client: httpx.Client, body: dict[str, Any]) -> None:
    twice = [[[20, 20]], [[20, 20]]]
    (mask,) = segment(client, body, segment_prompt=twice)["data"]
    assert [each["prompts"] for each in mask["segments"]] == [[0, 1]]
    (mask,) = segment(client, body, segment_prompt=twice, merge_iou=1)["data"]
    assert [each["area"] > 0 for each in mask["segments"]] == [True, False]
    assert mask["segments"][1]["bbox"] is None


def test_n_returns_candidates_best_first(client: httpx.Client, body: dict[str, Any]) -> None:
    answer = segment(client, body, n=3)
    scores = [mask["score"] for mask in answer["data"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert answer["data"][0] == segment(client, body)["data"][0]


def test_size_scales_the_mask_and_not_the_coordinates(client: httpx.Client, body: dict[str, Any]) -> None:
    large = values_of(segment(client, body, segment_prompt=[[[70, 40]]], size="192x128"))
    own = values_of(segment(client, body, segment_prompt=[[[70, 40]]]))
    assert large.shape == (128, 192)
    assert large[80, 140] == 1
    assert abs(large.mean() - own.mean()) < 0.02


@pytest.mark.parametrize("form", ["rle", "polygons"])
def test_other_formats_describe_the_same_mask(client: httpx.Client, body: dict[str, Any], form: str) -> None:
    prompt = {"segment_prompt": [[[20, 20]], [[70, 40]]]}
    values = values_of(segment(client, body, **prompt))
    (mask,) = segment(client, body, **prompt, response_format=form)["data"]
    assert mask["b64_json"] is None
    for each in mask["segments"]:
        expected = values == each["value"]
        if form == "rle":
            assert each["rle"]["size"] == [64, 96]
            assert (rle.decode(each["rle"]["counts"], Size(96, 64)) == expected).all()
        else:
            edges = np.zeros((64, 97), int)
            for ring in (ring for part in each["polygons"] for ring in part):
                for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
                    if x0 == x1:
                        edges[min(y0, y1) : max(y0, y1), x0] ^= 1
            assert ((np.cumsum(edges, axis=1)[:, :96] % 2 == 1) == expected).all()


def test_uncomposed_masks_overlap(client: httpx.Client, body: dict[str, Any]) -> None:
    prompt = {"segment_prompt": [[[20, 20]], [[20, 20]]], "response_format": "rle"}
    (mask,) = segment(client, body, **prompt, compose=False)["data"]
    first, second = mask["segments"]
    assert first["rle"] == second["rle"]
    assert [each["prompts"] for each in mask["segments"]] == [[0], [1]]


def test_options_may_be_sent_in_extra_body(client: httpx.Client, body: dict[str, Any]) -> None:
    assert segment(client, body, extra_body={"size": "48x32"})["data"][0]["width"] == 48
    assert segment(client, body, extra_body=None)["data"][0]["width"] == 96
    assert segment(client, body, extra_body={})["data"][0]["width"] == 96


def test_everything_the_reference_sdk_sends_is_accepted(client: httpx.Client, body: dict[str, Any]) -> None:
    segment(client, body, n=1, size="96x64", user="someone", extra_body=None)
    segment(client, body, n=None, size=None, user=None, response_format=None, point_labels=None)


def test_the_prompt_may_be_json_text(client: httpx.Client, body: dict[str, Any]) -> None:
    assert values_of(segment(client, body, segment_prompt="[[[20, 20]]]"))[20, 20] == 1


@pytest.mark.parametrize("wrap", ["data:image/png;base64,{}", "data:;BASE64,{}"])
def test_the_image_may_be_a_data_url(client: httpx.Client, body: dict[str, Any], wrap: str) -> None:
    assert segment(client, body, image_prompt=wrap.format(body["image_prompt"]))["data"]


def test_base64_may_be_broken_into_lines(client: httpx.Client, body: dict[str, Any]) -> None:
    text = body["image_prompt"]
    lines = "\r\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    assert segment(client, body, image_prompt=lines)["data"]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_mask_follows_the_exif_orientation(
    client: httpx.Client, body: dict[str, Any], orientation: int, kind: str
) -> None:
    turn_back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    upright = Image.fromarray(squares())
    stored = upright.transpose(Image.Transpose(turn_back[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    stored.save(file, kind, exif=exif if kind == "TIFF" else exif.tobytes())
    answer = segment(client, body, image_prompt=b64(file.getvalue()), segment_prompt=[[[70, 40]]])
    values = values_of(answer)
    assert values.shape == (64, 96)
    assert values[40, 70] == 1
    assert values[20, 20] == 0
    ignored = segment(client, body, image_prompt=b64(file.getvalue()), segment_prompt=[[[20, 20]]], exif="ignore")
    assert (ignored["data"][0]["width"], ignored["data"][0]["height"]) == stored.size


def test_a_form_carries_the_file_without_base64(client: httpx.Client, body: dict[str, Any], image: bytes) -> None:
    fields = {"model": MODEL, "segment_prompt": [[[20, 20]]], "size": "48x32"}
    response = client.post(ROUTE, files={"image": ("p.png", image)}, data={"request": json.dumps(fields)})
    assert response.status_code == 200, response.text
    assert response.json()["data"] == segment(client, body, size="48x32")["data"]


def test_the_json_of_a_form_may_be_a_file_too(client: httpx.Client, body: dict[str, Any], image: bytes) -> None:
    fields = json.dumps({"model": MODEL, "segment_prompt": [[[20, 20]]]}).encode()
    response = client.post(ROUTE, files={"image": ("p.png", image), "request": ("r.json", fields, "application/json")})
    assert response.status_code == 200, response.text
    assert response.json()["data"] == segment(client, body)["data"]


def test_an_alias_selects_another_model(make_client: Callable[..., httpx.Client], body: dict[str, Any]) -> None:
    client = make_client(aliases={"syscv-community/sam-hq-vit-base": MODEL})
    assert segment(client, {**body, "model": "syscv-community/sam-hq-vit-base"})["data"]
    listed = {model["id"]: model["root"] for model in client.get("/v1/models").json()["data"]}
    assert listed["syscv-community/sam-hq-vit-base"] == MODEL


def test_300_objects_take_a_16_bit_mask(client: httpx.Client, body: dict[str, Any]) -> None:
    points = [[[x, y]] for y in range(15) for x in range(20)]
    answer = segment(client, body, image_prompt=b64(png(squares(20, 15))), segment_prompt=points, merge_iou=1)
    values = values_of(answer)
    assert values.dtype != np.uint8
    assert len(answer["data"][0]["segments"]) == 300


@pytest.mark.parametrize("shape", [(1, 1), (20_000, 1), (1, 20_000)])
def test_images_of_any_shape(client: httpx.Client, body: dict[str, Any], shape: tuple[int, int]) -> None:
    image = png(np.full((*shape, 3), 200, np.uint8))
    answer = segment(client, body, image_prompt=b64(image), segment_prompt=[[[0, 0]]])
    assert values_of(answer).shape == shape


def test_the_limits_in_force_can_be_read(make_client: Callable[..., httpx.Client]) -> None:
    limits = make_client(max_points=7, max_image_pixels=1000).get("/v1/limits").json()
    assert limits["max_points"] == 7
    assert limits["max_image_pixels"] == 1000
    assert "PNG" in limits["image_formats"]


def test_60_megapixels(client: httpx.Client, body: dict[str, Any]) -> None:
    pixels = np.full((6000, 10_000), 90, np.uint8)
    pixels[2000:4000, 3000:6000] = 230
    answer = segment(
        client, body, image_prompt=b64(png(pixels)), segment_prompt=[[[4500, 3000]]], response_format="rle"
    )
    (mask,) = answer["data"]
    assert (mask["width"], mask["height"]) == (10_000, 6000)
    (only,) = mask["segments"]
    assert only["rle"]["size"] == [6000, 10_000]
    assert only["area"] == pytest.approx(2000 * 3000, rel=0.1)


def test_labels_come_back_on_segments_and_on_a_mask_of_one(client: httpx.Client, body: dict[str, Any]) -> None:
    (mask,) = segment(client, body, labels=["a red square"])["data"]
    assert mask["label"] == mask["segments"][0]["label"] == "a red square"
    two = {"segment_prompt": [[[20, 20]], [[70, 40]]]}
    (mask,) = segment(client, body, **two, labels=[None, "Würfel"])["data"]
    assert mask["label"] is None
    assert [each.get("label") for each in mask["segments"]] == [None, "Würfel"]
    assert segment(client, body, **two)["data"][0]["b64_json"] == mask["b64_json"]


def test_a_merged_segment_has_the_first_label_of_its_objects(client: httpx.Client, body: dict[str, Any]) -> None:
    same = {"segment_prompt": [[[20, 20]]] * 3, "extra_body": {"labels": [None, "first", "second"]}}
    (only,) = segment(client, body, **same)["data"][0]["segments"]
    assert (only["prompts"], only["label"]) == ([0, 1, 2], "first")


def test_everything_in_an_image_becomes_one_mask(client: httpx.Client, body: dict[str, Any]) -> None:
    body.pop("segment_prompt")
    wanted = {"model": "maskery/nano", "automatic": {"points_per_side": 6, "min_area": 20}}
    answer = segment(client, body, **wanted)
    (mask,) = answer["data"]
    values = values_of(answer)
    assert [each["value"] for each in mask["segments"]] == list(range(1, len(mask["segments"]) + 1))
    assert [each["area"] for each in mask["segments"]] == np.bincount(values.ravel())[1:].tolist()
    assert all(each["area"] >= 20 and each["prompts"] == [] for each in mask["segments"])
    assert values[20, 20] != values[40, 70] > 0
    assert answer["usage"]["input_tokens_details"]["point_tokens"] == 36
    assert values_of(segment(client, body, **wanted)).tolist() == values.tolist()
    assert segment(client, body, **wanted, size="48x32", response_format="rle")["data"][0]["width"] == 48


def test_automatic_false_is_a_prompt_as_ever(client: httpx.Client, body: dict[str, Any]) -> None:
    assert segment(client, body, automatic=False)["data"] == segment(client, body)["data"]
