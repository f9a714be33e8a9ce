"""The programs of the API's page run unchanged against the server."""

from collections.abc import Callable
from typing import Any

import pytest

MODEL = "syscv-community/sam-hq-vit-base"


@pytest.mark.parametrize("program", ["segment_sync.py", "segment_async.py"])
def test_the_pages_programs_run_unchanged(
    start_server: Callable[..., Any], run_page: Callable[..., Any], program: str
) -> None:
    server = start_server(aliases=f'{{"{MODEL}": "maskery/grabcut"}}')
    result = run_page(program, server)
    assert result.returncode == 0, result.stderr
    assert "image segmentation response: " in result.stdout
    # The header of a PNG of 1800 x 1200 pixels with one channel of 8 bits.
    assert "b64_json='iVBORw0KGgoAAAANSUhEUgAABwgAAASwCAAAA" in result.stdout


def test_without_the_model_the_answer_says_how_to_install_it(server: Any, run_page: Callable[..., Any]) -> None:
    result = run_page("segment_sync.py", server)
    assert result.returncode == 1
    assert "air.errors.NotFoundError" in result.stderr
    assert f"maskery models install {MODEL}" in result.stderr
