"""What programs and environments of the reference SDK, airefinery-sdk, meet here."""

import asyncio
import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import air


@pytest.mark.parametrize("name", ["images", "models", "base"])
def test_the_modules_of_its_types_can_be_imported(name):
    module = importlib.import_module(f"air.types.{name}")
    for public in {
        "images": ["SegmentationResponse", "Mask", "Usage"],
        "models": ["Model"],
        "base": ["CustomBaseModel"],
    }[name]:
        assert hasattr(module, public)


@pytest.mark.parametrize("release", ["images/__init__.py"])
def test_installed_over_it_the_import_says_what_to_do(release, tmp_path):
    shutil.copytree(Path(air.__file__).parent, tmp_path / "air")
    leftover = tmp_path / "air" / release
    leftover.parent.mkdir()
    leftover.write_text("from air import BASE_URL\n")
    done = subprocess.run(
        [sys.executable, "-c", "import air"], cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": "."}
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: airefinery-sdk and maskery-sdk are installed in the same environment.")
    assert "pip uninstall -y airefinery-sdk maskery-sdk, then install one" in last
    assert "circular" not in done.stderr


@pytest.mark.parametrize("arguments", [{"base_url": "http://host/"}, {"oauth_server": "http://host"}])
def test_login_accepts_the_address_as_its_releases_do(arguments, key):
    auth = air.login("acme", key, **arguments)
    assert auth.openai()["base_url"] == "http://host"
    assert auth.openai("http://other")["base_url"] == "http://other"


def test_login_accepts_all_four_by_position(key):
    assert air.login("acme", key, "http://one", "http://two").openai()["base_url"] == "http://one"
    assert air.login("acme", key, None, "http://two").openai()["base_url"] == "http://two"
    assert air.login("acme", key, "", "").openai("")["base_url"] == "http://127.0.0.1:8484"


def test_validate_uses_the_address_of_login(stub, key):
    stub.plays(stub.reply(200, {"organization_id": "org_1"}))
    auth = air.login("acme", key, base_url=stub.url)
    assert auth.validate().organization_id == asyncio.run(auth.validate_async()).organization_id == "org_1"


def test_except_clauses_for_the_standard_exceptions_work(twin, stub):
    with pytest.raises(ConnectionError):
        twin.segment(client={"base_url": "http://127.0.0.1:1", "max_retries": 0})
    stub.plays(stub.silent())
    for standard in (TimeoutError, asyncio.TimeoutError, ConnectionError, OSError, air.APIConnectionError):
        with pytest.raises(standard):
            twin.segment(timeout=0.05)


def test_a_timeout_is_not_retried(twin, stub):
    stub.plays(stub.silent())
    with pytest.raises(air.APITimeoutError):
        twin.segment(timeout=0.2, client={"max_retries": 5})
    assert len(stub.requests) <= 1


def test_an_oserror_of_a_file_stays_what_it_is(twin, stub, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        twin.segment(tmp_path / "missing.png")
    assert not isinstance(caught.value, air.AirError)
    assert stub.requests == []


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 520, 599])
def test_every_status_from_500_up_is_an_internal_server_error(twin, stub, status):
    stub.plays(stub.error(status))
    with pytest.raises(air.InternalServerError) as caught:
        twin.segment(client={"max_retries": 0})
    assert caught.value.status_code == status
