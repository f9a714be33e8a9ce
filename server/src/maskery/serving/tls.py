"""TLS with a certificate that can be reloaded while the server runs."""

import logging
import ssl
from pathlib import Path

from maskery.serving import ServingError
from maskery.settings import Settings

_log = logging.getLogger(__name__)


def read_tls(settings: Settings) -> "Tls | None":
    """Read the files in the settings; None if TLS is not configured.

    Raises:
        ServingError: a file cannot be used.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    return Tls(certificate, key) if certificate and key else None


class Tls:
    """The TLS context of a listener.

    Args:
        certificate: PEM file with the server's certificate, followed by its intermediate certificates.
        key: PEM file with its private key, without a passphrase.

    Attributes:
        context: the context to listen with.

    Raises:
        ServingError: a file cannot be used.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self.context = self._load()
        self._current = self.context
        # Called at every handshake, with or without SNI.
        self.context.sni_callback = self._choose

    def reload(self) -> None:
        """Read the files again for new connections. If they cannot be used, the current certificate stays."""
        try:
            self._current = self._load()
        except ServingError as error:
            _log.error("the certificate was not reloaded: %s", error)
        else:
            _log.info("the certificate was reloaded from %s", self._certificate)

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, first: ssl.SSLContext) -> None:
        del name, first
        connection.context = self._current

    def _load(self) -> ssl.SSLContext:
        """A new context. Loading into the existing one could leave it with a mix of old and new files."""
        for file, kind in ((self._certificate, b"CERTIFICATE-----"), (self._key, b"PRIVATE KEY-----")):
            try:
                content = file.read_bytes()
            except OSError as error:
                raise ServingError(f"the TLS file {file} cannot be read: {error.strerror}.") from None
            if kind not in content:
                raise ServingError(f"the file {file} contains no {kind.strip(b'-').decode().lower()} in PEM format.")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certificate, self._key, self._refuse_passphrase)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                reason = f"{self._key} is not the key of the certificate {self._certificate}"
            else:
                reason = f"{self._certificate} and {self._key} cannot be used for TLS ({error.reason or error})"
            raise ServingError(f"{reason}.") from None
        return context

    def _refuse_passphrase(self) -> str:
        raise ServingError(f"the key {self._key} has a passphrase; the server needs a key without one.")
