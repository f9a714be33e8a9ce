"""HTTP around the engine: routes, schemas, errors, middleware. It only translates."""

from maskery.api.app import create_app

__all__ = ["create_app"]
