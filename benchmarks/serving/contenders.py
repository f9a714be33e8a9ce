"""The servers that are compared, and how to start them."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MODEL = "benchmark/sam-hq"
_INSTALL_SECONDS = 120
# Cached embeddings of a plain server: 54 MB each for ViT-B in f32.
_KEEP = 32


class CannotInstall(Exception):  # noqa: N818 - the name states what was found
    """Maskery could not install the model or create a key."""


@dataclass(frozen=True)
class Start:
    """How to start a server: its command line, and variables added to the environment."""

    command: list[str]
    environment: dict[str, str]


@dataclass(frozen=True)
class Contender:
    """A server.

    Attributes:
        name: in tables.
        colour: in charts.
        engine: module of `benchmarks.peers` that runs the same model without a server.
        precision: of the model.
        keeps: whether it caches embeddings.
        own: whether it is Maskery.
        only: the scenarios to measure; empty: all.
        more: further arguments of a plain server.
    """

    name: str
    colour: str
    engine: str
    precision: str
    keeps: bool = True
    own: bool = False
    only: tuple[str, ...] = ()
    more: tuple[str, ...] = ()

    def start(self, port: int, folder: Path, home: Path) -> Start:
        """Args:
        port: to listen on.
        folder: of the model.
        home: home folder of Maskery, with the model installed.
        """
        if self.own:
            command = [sys.executable, "-m", "maskery", "serve", "--port", str(port)]
            environment = {
                "MASKERY_HOME": str(home),
                "MASKERY_PRECISION": self.precision,
                # As a plain server, ready once its model is loaded, and every click is decoded, also a repeated one.
                "MASKERY_PRELOAD": MODEL,
                "MASKERY_CANDIDATE_CACHE_BYTES": "0",
            }
            return Start(command, environment)
        command = [sys.executable, "-m", "benchmarks.peers.plain_server", "--folder", str(folder), "--port", str(port)]
        return Start([*command, "--precision", self.precision, *self.more], {"HF_HUB_OFFLINE": "1"})


def contenders(fast: str) -> dict[str, Contender]:
    """Contenders by their name on the command line.

    Args:
        fast: the default precision of Maskery on this machine.
    """
    torch, ours = "sam_transformers_sdpa", "sam_maskery"
    keep = ("--keep", str(_KEEP))
    every = {
        "plain": Contender(
            "plain f32",
            "#b9b9b9",
            torch,
            "f32",
            keeps=False,
            only=("new", "known", "eight", "one image, 4 clients"),
        ),
        "cache": Contender("plain f32, cache", "#8a8a8a", torch, "f32", more=keep),
        "cache-unlocked": Contender(
            "plain f32, cache, no lock",
            "#5e5e5e",
            torch,
            "f32",
            only=("idle", "loaded"),
            more=(*keep, "--no-lock"),
        ),
        "cache-bf16": Contender("plain bf16, cache", "#c9a26b", torch, "bf16", more=keep),
        "maskery-f32": Contender("maskery f32", "#7fb2e5", ours, "f32", own=True),
    }
    if fast != "f32":
        every[f"maskery-{fast}"] = Contender(f"maskery {fast}", "#1f6fb2", ours, fast, own=True)
    return every


def install(folder: Path, home: Path) -> str:
    """Install the model in Maskery's home folder and create a key. Returns the key.

    Raises:
        CannotInstall: with the output of the command.
    """
    _maskery(home, "models", "install", MODEL, "--from", str(folder))
    return _maskery(home, "keys", "create", "--account", "benchmark", "--quiet").strip()


def _maskery(home: Path, *arguments: str) -> str:
    try:
        return subprocess.run(
            [sys.executable, "-m", "maskery", *arguments],
            env={**os.environ, "MASKERY_HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=True,
        ).stdout
    except subprocess.CalledProcessError as error:
        raise CannotInstall(f"maskery {' '.join(arguments[:2])}: {error.stderr.strip()}") from None
    except subprocess.TimeoutExpired:
        raise CannotInstall(f"maskery {' '.join(arguments[:2])} took more than {_INSTALL_SECONDS} seconds") from None
