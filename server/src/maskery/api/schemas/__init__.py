"""The JSON of requests and responses, and its OpenAPI description."""
