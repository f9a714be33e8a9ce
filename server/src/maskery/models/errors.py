"""Errors of installing and loading models."""

from maskery.errors import UserError


class StoreError(UserError):
    """A model cannot be installed, found, removed or loaded."""


class DownloadError(StoreError):
    """A download failed. The files that have arrived are kept, and the next attempt resumes from them."""


class DeviceError(UserError):
    """The device of the setting `device` is not there, or does not support the precision that was chosen."""
