"""Interfaces of dependencies that are not documented as public, and their upper bounds.

When a release moves one of them, its test fails by name: adapt the code, then raise the bound in server/pyproject.toml.
"""

import pkgutil
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import uvicorn
from packaging.requirements import Requirement
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

BOUNDED = ("uvicorn", "starlette", "httptools", "python-multipart", "huggingface_hub")

INTERFACES = [
    *(
        f"uvicorn.protocols.http.httptools_impl:HttpToolsProtocol.{name}"
        for name in (
            "connection_made",
            "connection_lost",
            "data_received",
            "on_headers_complete",
            "on_body",
            "on_message_complete",
            "on_response_complete",
            "send_400_response",
            "_unset_keepalive_if_required",
        )
    ),
    *(f"uvicorn:Server.{name}" for name in ("startup", "shutdown", "handle_exit")),
    "uvicorn.middleware.proxy_headers:ProxyHeadersMiddleware",
    "httptools:HttpParserUpgrade",
    "httptools:HttpRequestParser.should_upgrade",
    "httptools:HttpRequestParser.set_dangerous_leniencies",
    "starlette.formparsers:MultiPartParser.spool_max_size",
    "starlette.middleware.cors:CORSMiddleware.preflight_response",
    "starlette.middleware.cors:CORSMiddleware.is_allowed_origin",
    "starlette.routing:Match.FULL",
    "starlette.routing:BaseRoute.matches",
    "python_multipart.multipart:parse_options_header",
    "huggingface_hub.file_download:http_get",
]


async def _application(scope: object, receive: object, send: object) -> None:
    """Does nothing."""


@pytest.mark.parametrize("interface", INTERFACES)
def test_the_interface_exists(interface: str) -> None:
    assert pkgutil.resolve_name(interface) is not None


@pytest.mark.parametrize(
    "name",
    ["parser", "transport", "loop", "client", "scope", "headers", "cycle", "server_state", "timeout_keep_alive_task"],
)
async def test_a_protocol_of_uvicorn_has_the_attribute(name: str) -> None:
    config = uvicorn.Config(_application, lifespan="off", interface="asgi3", log_config=None)
    assert hasattr(HttpToolsProtocol(config, ServerState(), {}), name)


@pytest.mark.parametrize("name", ["started", "should_exit", "force_exit", "server_state", "lifespan", "servers"])
async def test_a_server_of_uvicorn_has_the_attribute(name: str) -> None:
    server = uvicorn.Server(uvicorn.Config(_application, lifespan="off", interface="asgi3", port=0, log_config=None))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    try:
        assert hasattr(server, name)
        assert server.config.http_protocol_class
        assert server.lifespan.state == {}
    finally:
        await server.shutdown()


@pytest.mark.parametrize("package", BOUNDED)
def test_the_installed_release_is_within_an_upper_bound(package: str) -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    requirements = {requirement.name: requirement for requirement in map(Requirement, project["dependencies"])}
    specifier = requirements[package].specifier
    assert re.search("<", str(specifier)), f"{package} has no upper bound"
    assert version(package) in specifier


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
