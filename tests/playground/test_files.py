"""The page as files: no key, no other host, nothing that a policy would have to allow."""

import re
from typing import Any

import httpx
import pytest

from maskery import playground


@pytest.mark.parametrize("path", ["/", "/playground/app.js", "/playground/styles/base.css", "/playground/icon.svg"])
def test_files_need_no_key_and_carry_a_strict_policy(server: Any, path: str) -> None:
    answer = httpx.get(server.url + path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    again = httpx.get(server.url + path, headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304
    assert httpx.head(server.url + path).status_code == 200


def test_what_is_no_file_of_the_page_is_not_found(server: Any) -> None:
    for path in ("/playground/", "/playground/__init__.py", "/playground/../settings.py", "/playground/nothing.js"):
        answer = httpx.get(server.url + path)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"


def test_the_page_may_know_whether_a_key_is_needed(server: Any) -> None:
    assert httpx.get(f"{server.url}/playground/server.json").json()["key_needed"] is True


def test_no_file_names_another_host() -> None:
    for path, file in playground.load().items():
        if path.endswith((".html", ".css", ".js")):
            hosts = set(re.findall(r"https?://[^\s'\"<)]+", file.content.decode()))
            assert hosts <= {"http://www.w3.org/2000/svg"}, path


def test_all_that_the_modules_and_the_page_name_is_there() -> None:
    files = playground.load()
    for path, file in files.items():
        text = file.content.decode() if path.endswith((".html", ".js")) else ""
        for name in re.findall(r"^import [^;]*? from '\.(/[^']+|\./[^']+)';", text, re.M | re.S):
            folder = path.rpartition("/")[0]
            target = re.sub(r"[^/]+/\.\./", "", f"{folder}/.{name}".replace("/./", "/").lstrip("/"))
            assert re.sub(r"^\./", "", target) in files, (path, name)
        for name in re.findall(r'(?:href|src)="playground/([^"]+)"', text):
            assert name in files
