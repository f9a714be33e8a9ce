"""A proxy that hashes `x-session-id` sends requests for one image to the server that has encoded it."""

import json
import random
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import pytest

from air import AIRefinery
from tests.proxies.running import Servers, make_images

pytestmark = pytest.mark.services

IMAGES = make_images(40)
REPEATS = 6
CLIENTS = 16


def click_each(address: str, key: str, images: Sequence[bytes], headers: Mapping[str, str] | None = None) -> None:
    """One click on each of the images, by several clients at the same time; every answer must be right."""

    def click(client: AIRefinery, image: bytes) -> None:
        response = client.images.segment(image, [[[24, 24]]], "maskery/grabcut", extra_headers=headers)
        values = response.data[0].to_numpy()
        assert values[24, 24] == 1
        assert values[2, 2] == 0

    with AIRefinery(key, address) as client, ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(partial(click, client), images))


def shuffled(seed: int) -> list[bytes]:
    images = IMAGES * REPEATS
    random.Random(seed).shuffle(images)
    return images


def test_repeated_clicks_meet_the_server_that_knows_the_image(address: str, servers: Servers) -> None:
    click_each(address, servers.key, IMAGES)
    first = servers.embeddings()
    assert first.count("new") == len(first) == len(IMAGES)
    assert all(servers.embeddings(of=number) for number in range(3)), "one server has got no image"
    click_each(address, servers.key, shuffled(1))
    repeated = servers.embeddings().count("known") - first.count("known")
    assert repeated >= 0.95 * len(IMAGES) * REPEATS


def test_without_affinity_images_are_encoded_by_all_servers(address: str, servers: Servers) -> None:
    click_each(address, servers.key, IMAGES)
    for image in shuffled(2)[:120]:
        click_each(address, servers.key, [image], {"x-session-id": uuid.uuid4().hex})
    assert servers.embeddings().count("known") < 0.8 * 120


def test_the_images_of_a_server_that_stops_move_to_the_others(address: str, servers: Servers) -> None:
    click_each(address, servers.key, IMAGES)
    lost = len(servers.embeddings(of=0))
    assert 0 < lost < len(IMAGES)
    servers.stop(0)
    click_each(address, servers.key, IMAGES)
    click_each(address, servers.key, IMAGES)
    assert servers.embeddings().count("new") == len(IMAGES) + lost


def test_requests_without_the_header_are_spread(address: str, servers: Servers) -> None:
    body = {"model": "maskery/grabcut", "segment_prompt": [[[24, 24]]]}
    with httpx.Client(headers={"Authorization": f"Bearer {servers.key}"}) as client:
        for image in IMAGES[:12]:
            form = {"image": image, "request": (None, json.dumps(body))}
            assert client.post(f"{address}/v1/images/segmentations", files=form).is_success
    assert all(servers.embeddings(of=number) for number in range(3))
