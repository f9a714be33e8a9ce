"""The routes of the bridges to labelling tools; none unless the operator asks for them."""

from fastapi import APIRouter

from maskery.api.routes.bridges import cvat, label_studio, x_anylabeling
from maskery.settings import Bridge, Settings, SettingsError

_ROUTERS = {
    "cvat": cvat.make_router,
    "label-studio": label_studio.make_router,
    "x-anylabeling": x_anylabeling.make_router,
}


def make_routers(settings: Settings) -> list[APIRouter]:
    """The routers of the bridges that the settings name.

    Raises:
        SettingsError: a setting of a bridge is missing.
    """
    _check(settings)
    bridges: set[Bridge] = set(settings.bridges)
    return [_ROUTERS[bridge](settings) for bridge in sorted(bridges)]


def _check(settings: Settings) -> None:
    """When the server starts: `maskery keys create` runs before MASKERY_CVAT_KEY can be set."""
    if "label-studio" in settings.bridges and not settings.label_studio_url:
        raise SettingsError(
            "the bridge label-studio fetches images from one server: set MASKERY_LABEL_STUDIO_URL to its address"
        )
    if "cvat" not in settings.bridges:
        if settings.bridge_listen:
            raise SettingsError("MASKERY_BRIDGE_LISTEN is the address of the bridge cvat: add it to MASKERY_BRIDGES")
        return
    if not (settings.cvat_key or settings.anonymous):
        raise SettingsError("the bridge cvat acts for one account: set MASKERY_CVAT_KEY to an API key of it")
    if not (settings.bridge_listen or settings.cvat_clients):
        raise SettingsError(
            "CVAT sends no key: give the bridge cvat an address of its own with MASKERY_BRIDGE_LISTEN, or list the "
            "addresses of CVAT's servers in MASKERY_CVAT_CLIENTS"
        )
    if settings.bridge_port == settings.port:
        raise SettingsError("MASKERY_BRIDGE_LISTEN and MASKERY_PORT need different ports")
