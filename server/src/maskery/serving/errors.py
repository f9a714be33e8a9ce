"""Errors of the server process."""

from maskery.errors import UserError


class ServingError(UserError):
    """The server cannot start, or cannot read its certificate."""
