"""Protocols of labelling tools: each package reads the requests of one tool and writes its answers."""
