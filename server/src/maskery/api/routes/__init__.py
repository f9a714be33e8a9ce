"""Routes: each module has the endpoints of one subject."""
