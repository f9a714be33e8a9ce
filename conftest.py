"""For every folder of tests: services outside of Python, as fixtures."""

pytest_plugins = ["outside"]
