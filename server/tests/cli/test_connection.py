"""Answers of servers, as commands read them."""

import socket
from pathlib import Path

from command_line import maskery
from samples import png, squares


def test_an_image_that_takes_too_long_fails_and_the_next_is_sent(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png(squares()))
    # Connections are accepted, and never answered.
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        result = maskery(
            "segment", tmp_path, "--point", "20,20", "--url", url, "--timeout", "0.2", "-o", tmp_path / "out"
        )
    assert result.returncode == 2
    for name in ("a.png", "b.png"):
        assert f"{name}: no answer from {url} within 0.2 seconds" in result.stderr.replace("\n", " ")
