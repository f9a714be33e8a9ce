"""What can go wrong with the models of a machine."""

from maskery.errors import UserError


class StoreError(UserError):
    """A model cannot be installed, found, removed or loaded; the message is one sentence that says why."""


class DownloadError(StoreError):
    """The hub did not give what was asked; what has arrived is kept, and the next try goes on from there."""
