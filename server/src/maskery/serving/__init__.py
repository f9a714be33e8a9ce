"""The HTTP server process: uvicorn, its protocol class, TLS."""

from maskery.errors import UserError


class ServingError(UserError):
    """The server cannot start, or cannot read its certificate."""
