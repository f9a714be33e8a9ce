"""The HTTP server process: uvicorn, its protocol class, TLS."""
