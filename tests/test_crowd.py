"""Many clients at once: everybody gets an answer, and his own."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from air import AIRefinery

IMAGES = 20
REQUESTS = 500
CLIENTS = 16


def scene(number: int) -> tuple[bytes, list[list[list[int]]]]:
    """An image of its own size and colours, and prompts for the two things on it."""
    rng = np.random.default_rng(number)
    width, height = 60 + 3 * number, 50 + 2 * number
    pixels = np.full((height, width, 3), rng.integers(100, 156, 3), np.uint8)
    pixels[8:22, 8:26] = rng.integers(0, 60, 3)
    pixels[26:44, 30:54] = rng.integers(190, 255, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    prompts = [[[[15, 15]]], [[[40, 35]]], [[[15, 15]], [[40, 35]]], [[[40, 35]], [[15, 15], [20, 18]]]]
    return file.getvalue(), prompts[number % len(prompts)]


def test_500_requests_of_16_clients_get_the_answers_they_would_get_alone(server: Any) -> None:
    scenes = [scene(number) for number in range(IMAGES)]
    with AIRefinery(api_key=server.key, base_url=server.url) as client:

        def ask(number: int) -> tuple[bytes, Any]:
            image, prompt = scenes[number % IMAGES]
            response = client.images.segment(base64.b64encode(image).decode(), prompt, "maskery/grabcut")
            (mask,) = response.data
            assert mask.b64_json is not None
            return base64.b64decode(mask.b64_json), mask.segments

        alone = [ask(number) for number in range(IMAGES)]
        assert len({png for png, _ in alone}) == IMAGES
        with ThreadPoolExecutor(CLIENTS) as pool:
            together = list(pool.map(ask, range(REQUESTS)))
    assert together == [alone[number % IMAGES] for number in range(REQUESTS)]
