"""Why the server process could not start or renew its certificate."""

from maskery.errors import UserError


class ServingError(UserError):
    """The server cannot do what its settings ask for; the message is one sentence that says why."""
