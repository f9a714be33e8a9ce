"""The routes of Nuclio that CVAT calls: it lists models as functions and invokes one per click.

CVAT sends no credential. So the routes answer only on an address of their own or to named clients, and act with the API
key in the settings.
"""

import ipaddress
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from maskery.accounts import Caller
from maskery.api.container import Container, ContainerDependency
from maskery.api.errors import ApiError
from maskery.api.middleware.bridge_listener import is_on_port
from maskery.api.requests.body import Body
from maskery.api.requests.foreign import read_foreign
from maskery.api.requests.image_field import decode_image
from maskery.api.requests.processing import process
from maskery.api.routes.bridges.common import LoggedRoute, admitted, authenticated, names_of, segment
from maskery.bridges.cvat import FUNCTION_HEADER, Invocation, function_id, functions, write_answer
from maskery.engine import Timings, Upload
from maskery.settings import Settings


def make_router(settings: Settings) -> APIRouter:
    """The routes, at the paths of Nuclio's dashboard."""
    authenticate = authenticated(_key_reader(settings), "Bearer", "one in the setting MASKERY_CVAT_KEY")
    admit = admitted(authenticate)
    router = APIRouter(prefix="/api", include_in_schema=False, route_class=LoggedRoute)

    @router.get("/functions", dependencies=[Depends(authenticate)])
    def list_functions(container: ContainerDependency) -> dict[str, Any]:
        return functions(names_of(container))

    @router.get("/functions/{function}", dependencies=[Depends(authenticate)])
    def get_function(container: ContainerDependency, function: str) -> dict[str, Any]:
        model = _model(container, function)
        return functions([model])[function]

    @router.post("/function_invocations")
    async def invoke(
        request: Request,
        container: ContainerDependency,
        caller: Annotated[Caller, Depends(admit, scope="function")],
    ) -> Response:
        async def answer(parsed: tuple[Invocation, Upload], timings: Timings) -> bytes:
            invocation, image = parsed
            function = request.headers.get(FUNCTION_HEADER, "")
            model = await container.engine.run_in_thread(lambda: _model(container, function))
            prompt = invocation.prompt()
            return await segment(request, container, caller, model, image, prompt, write_answer, timings)

        return Response(await process(request, container, _parse, answer), media_type="application/json")

    return router


def _parse(body: Body) -> tuple[Invocation, Upload]:
    invocation = read_foreign(body.json, Invocation)
    return invocation, Upload(decode_image(invocation.image, "image"))


def _model(container: Container, function: str) -> str:
    """The model of a function."""
    for name in names_of(container):
        if function_id(name) == function:
            return name
    raise ApiError(404, "model_not_found", f"There is no function {function[:100]!r}.")


def _key_reader(settings: Settings) -> Callable[[Request], str | None]:
    networks = [ipaddress.ip_network(each) for each in settings.cvat_clients]
    port = settings.bridge_port

    def read_key(request: Request) -> str | None:
        """The key in the settings, if the client is one that may use it."""
        # Browsers send this header, CVAT's server does not: a page must not use the key of its visitor's network.
        if "origin" in request.headers:
            raise ApiError(403, "origin_not_allowed", "Web pages may not call functions; CVAT's server calls them.")
        named = any(_address(request) in network for network in networks)
        if not named and (networks or not is_on_port(request.scope, port)):
            message = "This client may not call functions. The setting MASKERY_CVAT_CLIENTS lists those that may."
            raise ApiError(403, "client_not_allowed", message)
        return settings.cvat_key

    return read_key


def _address(request: Request) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(request.client.host if request.client else "")
    except ValueError:
        return None
