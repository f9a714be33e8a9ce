"""ASGI middleware, each doing one thing to every request."""
