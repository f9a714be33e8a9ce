"""The documentation as a site: complete, without other hosts, and its search finds the right page."""

import functools
import inspect
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import air

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SITE = ROOT / "site"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing to standard error."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    assert (SITE / "index.html").exists(), "run make docs"
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_no_page_loads_anything_from_another_host(browser: Any, address: str) -> None:
    requests: list[str] = []
    errors: list[str] = []
    page = browser.new_page()
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    for name in ("index.html", "openapi.html", "sdk-reference.html", "tutorials/first-mask.html"):
        page.goto(f"{address}/{name}")
    page.close()
    assert {url for url in requests if not url.startswith((address, "data:", "blob:"))} == set()
    assert errors == []
    for path in SITE.rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|link)[^>]*?(?:src|href)="(https?:[^"]+)"', path.read_text())
        assert loaded == [], path


def test_the_api_is_described_without_a_server(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}/openapi.html")
    page.wait_for_selector(".opblock")
    assert "/v1/images/segmentations" in page.inner_text("#swagger-ui")
    page.close()


@pytest.mark.parametrize(
    ("query", "page_name"),
    [
        ("box", "api.html"),
        ("prepared image", "api.html"),
        ("rate limit", "accounts.html"),
        ("CVAT", "cvat.html"),
        ("Ray", "scaling.html"),
    ],
)
def test_a_search_finds_the_right_page_first(browser: Any, address: str, query: str, page_name: str) -> None:
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.goto(f"{address}/index.html")
    page.click(".md-search__input")
    # Key by key: the search listens to keys, and a value that is set before its worker is ready would be lost.
    page.keyboard.type(query)
    page.wait_for_selector(".md-search-result__item a")
    first = page.locator(".md-search-result__item a").first.get_attribute("href") or ""
    page.close()
    assert first.partition("?")[0].partition("#")[0].rpartition("/")[2] == page_name


def test_every_public_name_of_the_sdk_is_described() -> None:
    reference = (SITE / "sdk-reference.html").read_text()
    for name in air.__all__:
        value = getattr(air, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert (value.__doc__ or "").strip(), f"{name} has no docstring"
            assert re.search(rf'id="air\.(\w+\.)*{name}"', reference), name
            members = vars(value).items() if inspect.isclass(value) else ()
            for member, function in members:
                if inspect.isfunction(function) and not member.startswith("_") and member != "model_post_init":
                    assert function.__doc__, f"{name}.{member} has no docstring"


def test_links_on_the_site_lead_to_pages_and_sections() -> None:
    """mkdocs checks those that are written; this checks what it makes of them."""
    ids = {path: set(re.findall(r'\bid="([^"]+)"', path.read_text())) for path in SITE.rglob("*.html")}
    for path in ids:
        for target in re.findall(r'<a[^>]* href="([^"]+)"', path.read_text()):
            if re.match(r"[a-z]+:", target) or path.name == "404.html":
                continue
            name, _, anchor = target.partition("#")
            linked = (path.parent / name).resolve() if name else path
            assert linked.exists(), (path.name, target)
            assert not anchor or linked.suffix != ".html" or anchor in ids[linked], (path.name, target)
