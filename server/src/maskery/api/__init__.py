"""The HTTP API around the engine: routes, middleware, requests and schemas."""
