"""Who may use the server: API keys, each belonging to an account."""

from maskery.accounts.keys import ApiKey, KeyStore, NoSuchKey

__all__ = ["ApiKey", "KeyStore", "NoSuchKey"]
