"""Models that ship inside the package and need no download."""
