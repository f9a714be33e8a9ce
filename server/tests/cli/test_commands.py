"""The command line as a whole, and commands with few options."""

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import fails, maskery, succeeds

from maskery import cli


def test_keys_are_created_listed_and_revoked() -> None:
    key = succeeds("keys", "create", "--account", "team", "--quiet")
    assert key.startswith("mk_")
    assert key.count("\n") == 1
    listed = succeeds("keys", "list")
    assert "team" in listed
    assert "until " in listed
    assert key.strip() not in listed
    succeeds("keys", "revoke", key.split("_")[1])
    assert "revoked" in succeeds("keys", "list")


def test_models_are_listed_with_their_state() -> None:
    listed = succeeds("models", "list")
    assert "maskery/grabcut" in listed
    assert "built in" in listed
    assert "syscv-community/sam-hq-vit-base" in listed
    assert "Apache-2.0" in succeeds("models", "show", "maskery/nano")
    assert "cannot be removed" in fails("models", "remove", "maskery/nano")
    assert "only installed models can be quantized" in fails("models", "quantize", "maskery/nano")


@pytest.mark.parametrize("command", ["keys list", "serve --port 0", "demo --no-open", "models list", "db revision"])
def test_a_file_in_place_of_the_home_folder_is_refused(command: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    message = f"setting home (MASKERY_HOME): {file} is a file; give a folder, which is created if it does not exist"
    assert message in fails(*command.split(), MASKERY_HOME=str(file))


def test_help_and_version() -> None:
    told = succeeds("--help")
    assert all(f" {name} " in told for name in cli._COMMANDS)
    told = succeeds("segment", "--help", COLUMNS="200")
    assert "X,Y" in told
    assert "cat.jpg.png" in told
    assert succeeds("--version").strip()
    for mistake in ("sgment", "keys creat"):
        result = maskery(*mistake.split())
        assert result.returncode == 2
        assert "Did you mean" in result.stderr


def test_every_command_has_help() -> None:
    for name, text in cli._COMMANDS.items():
        told = succeeds(name, "--help", COLUMNS="200")
        assert f"maskery {name} " in told
        if name not in ("serve", "demo", "segment", "prepare", "usage", "cluster"):
            assert text in told


def test_help_and_version_import_no_model_runtime_and_no_database() -> None:
    """What makes them quick; a process of its own, as the tests' own has imported everything."""
    heavy = ("openvino", "cv2", "numpy", "sqlalchemy", "fastapi", "pydantic", "httpx")
    program = f"""
import sys
from maskery.cli import main
try:
    main()
except SystemExit:
    pass
assert not set({heavy}) & set(sys.modules), set({heavy}) & set(sys.modules)
"""
    for option in ("--version", "--help"):
        subprocess.run([sys.executable, "-c", program, option], check=True, capture_output=True, timeout=60)


def test_a_full_disk_behind_standard_output_is_one_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "maskery", "--version"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == "maskery: cannot write to standard output: No space left on device.\n"


def test_shells_complete_commands_and_options() -> None:
    def complete(words: str) -> list[str]:
        count = str(len(words.split()) - 1)
        environment = {"_MASKERY_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": count}
        return maskery(**environment).stdout.split()

    assert complete("maskery seg") == ["segment"]
    assert complete("maskery segment --pro") == ["--prompts"]
    assert complete("maskery keys cr") == ["create"]
