"""The page's static files: no key, no other hosts, a strict Content-Security-Policy."""

import re
from typing import Any

import httpx
import pytest

from maskery import playground


@pytest.mark.parametrize("path", ["/", "/playground/app.js", "/playground/styles/base.css", "/playground/icon.svg"])
def test_files_need_no_key_and_have_a_strict_policy(server: Any, path: str) -> None:
    response = httpx.get(server.url + path)
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    again = httpx.get(server.url + path, headers={"if-none-match": response.headers["etag"]})
    assert again.status_code == 304
    assert httpx.head(server.url + path).status_code == 200


def test_other_paths_are_not_found(server: Any) -> None:
    for path in ("/playground/", "/playground/__init__.py", "/playground/../settings.py", "/playground/nothing.js"):
        response = httpx.get(server.url + path)
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "not_found"


def test_the_page_can_find_out_whether_a_key_is_needed(server: Any) -> None:
    assert httpx.get(f"{server.url}/playground/server.json").json()["key_needed"] is True


def test_no_file_refers_to_another_host() -> None:
    for path, file in playground.load().items():
        if path.endswith((".html", ".css", ".js")):
            hosts = set(re.findall(r"https?://[^\s'\"<)]+", file.content.decode()))
            assert hosts <= {"http://www.w3.org/2000/svg"}, path


def test_all_imports_and_links_exist() -> None:
    files = playground.load()
    for path, file in files.items():
        text = file.content.decode() if path.endswith((".html", ".js")) else ""
        for name in re.findall(r"^import [^;]*? from '\.(/[^']+|\./[^']+)';", text, re.M | re.S):
            folder = path.rpartition("/")[0]
            target = re.sub(r"[^/]+/\.\./", "", f"{folder}/.{name}".replace("/./", "/").lstrip("/"))
            assert re.sub(r"^\./", "", target) in files, (path, name)
        for name in re.findall(r'(?:href|src)="playground/([^"]+)"', text):
            assert name in files
