"""Models that are part of the package and need no download."""
