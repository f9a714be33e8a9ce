"""HTTP around the engine: routes, schemas, errors, middleware. It only translates."""

from maskery.api.app import create_app
from maskery.api.container import State

__all__ = ["State", "create_app"]
