"""Three plain servers with one database of accounts, and a proxy before them that is configured as the guide says."""

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from outside import Service
from PIL import Image

from maskery.accounts import AccountStore

ROOT = Path(__file__).parents[2]

#: The addresses of servers in the guide.
_DOCUMENTED = re.compile(r"10\.0\.0\.([123]):8484")


class Servers:
    """Three `maskery serve`.

    Attributes:
        key: of an account that all of them know.
    """

    def __init__(self, home: Path) -> None:
        settings = {
            "MASKERY_HOME": str(home),
            "MASKERY_PRELOAD": "maskery/grabcut",
            "MASKERY_LOG_FORMAT": "json",
            "PYTHONUNBUFFERED": "1",
        }
        store = AccountStore.open(home / "maskery.db")
        self.key = store.keys.create("team", scopes=["segment"])[1]
        store.close()
        self._logs = [home / f"{number}.log" for number in range(3)]
        self._processes = []
        for log in self._logs:
            with log.open("w") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "maskery", "serve", "--port", "0"],
                    env={**os.environ, **settings},
                    stdout=subprocess.PIPE,
                    stderr=output,
                    text=True,
                )
            self._processes.append(process)
        self.addresses = [self._address(process) for process in self._processes]

    @staticmethod
    def _address(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        found = re.search(r"http://(\S+:\d+)", process.stdout.readline())
        assert found
        return found[1]

    def embeddings(self, of: int | None = None) -> list[str]:
        """For each segmentation until now, on all servers or on one: known, new or shared."""
        logs = self._logs if of is None else [self._logs[of]]
        lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
        return [line["embedding"] for line in lines if line.get("embedding")]

    def stop(self, which: int) -> None:
        self._processes[which].terminate()
        self._processes[which].wait(60)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


class Proxy(Service):
    """nginx or HAProxy before the servers, on a port of its own."""

    def start(self, kind: str, servers: Servers) -> str:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        page = (ROOT / "docs" / "operating.md").read_text()
        (snippet,) = re.findall(rf"^```{kind}\n([^`]*10\.0\.0\.1[^`]*)^```", page, re.M)
        snippet = _DOCUMENTED.sub(lambda found: servers.addresses[int(found[1]) - 1], snippet)
        snippet, replaced = re.subn(r"(listen |bind \S*:)8480", rf"\g<1>{port}", snippet)
        assert replaced == 1
        file = self.folder / "proxy.conf"
        if kind == "nginx":
            folders = "".join(
                f"{name}_temp_path {name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            file.write_text(f"daemon off; pid pid; events {{}} http {{ access_log off; {folders}\n{snippet}\n}}")
            command = [_program("nginx"), "-p", self.folder, "-e", "stderr", "-c", file]
        else:
            file.write_text(snippet)
            command = [_program("haproxy"), "-db", "-f", file]
        self.begin(command, lambda: _accepts(port))
        return f"http://127.0.0.1:{port}"


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if not found:
        pytest.fail(f"these tests need {name}: apt-get install {name}")
    return found


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def make_images(count: int) -> list[bytes]:
    """Small images of a square each, as PNG files."""
    files = []
    for number in range(count):
        pixels = np.full((48, 48, 3), 40 + 2 * number, np.uint8)
        pixels[12:36, 12:36] = (240, 60, 2 * number)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        files.append(file.getvalue())
    return files
