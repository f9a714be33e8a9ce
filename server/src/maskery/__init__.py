"""Promptable image segmentation as a service you run yourself."""

from importlib.metadata import version

__version__ = version("maskery")
