"""The one place that holds the release number; the build reads it from here."""

__version__ = "0.1.0"
