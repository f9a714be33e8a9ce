"""TLS from two files, which may be renewed while the server runs."""

import logging
import ssl
from pathlib import Path

from maskery.serving.errors import ServingError
from maskery.settings import Settings

_log = logging.getLogger(__name__)


def read_tls(settings: Settings) -> "Tls | None":
    """From the files that the settings name; None: they name none.

    Raises:
        ServingError: the files cannot be used.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    return Tls(certificate, key) if certificate and key else None


class Tls:
    """What a listener speaks TLS with.

    Args:
        certificate: PEM, the server's own first, those that lead to its authority after it.
        key: PEM, without a passphrase.

    Raises:
        ServingError: the files cannot be used.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        #: For the listener.
        self.context = self._load()
        self._current = self.context
        # Asked at the beginning of every connection, whether or not its client names the server.
        self.context.sni_callback = self._choose

    def renew(self) -> None:
        """Read the files again, for the connections from now on; if they cannot be used, it stays as it was."""
        try:
            self._current = self._load()
        except ServingError as error:
            _log.error("the certificate stays as it was: %s", error)
        else:
            _log.info("the certificate was read again from %s", self._certificate)

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, first: ssl.SSLContext) -> None:
        del name, first
        connection.context = self._current

    def _load(self) -> ssl.SSLContext:
        """A context that is whole, or none: one into which new files are loaded could end up with half of them."""
        for file, kind in ((self._certificate, b"CERTIFICATE-----"), (self._key, b"PRIVATE KEY-----")):
            try:
                content = file.read_bytes()
            except OSError as error:
                raise ServingError(f"the file {file} for TLS cannot be read: {error.strerror}.") from None
            if kind not in content:
                raise ServingError(f"the file {file} holds no {kind.strip(b'-').decode().lower()} in PEM.")
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
        raise ServingError(f"the key {self._key} has a passphrase, and there is nobody to ask for it.")
