"""The proxy that the environment names for a server, and the certificates that it trusts."""

import importlib.util
import ipaddress
import os
import re
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.request import getproxies, proxy_bypass

import httpx

from .errors import ConfigurationError

_SCHEMES = ("http", "https", "socks5", "socks5h")


@dataclass(frozen=True)
class Proxy:
    """A proxy.

    Attributes:
        url: its address; may contain a password.
        variable: the environment variable that names it.
    """

    url: str = field(repr=False)
    variable: str

    def __str__(self) -> str:
        return f"the proxy {_without_password(self.url)} ({self.variable})"


def environment_proxy(base_url: str) -> Proxy | None:
    """The proxy between this machine and the server, or None: always None for a server on this machine.

    Reads what curl, requests and httpx read: ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``.
    ``NO_PROXY`` may list names, addresses and networks.

    Raises:
        ConfigurationError: the variable names a proxy that cannot be used.
    """
    server = httpx.URL(base_url)
    if _is_loopback(server.host):
        return None
    proxies = getproxies()
    scheme = next((scheme for scheme in (server.scheme, "all") if proxies.get(scheme)), None)
    if scheme is None or _is_excluded(server, proxies.get("no", "")):
        return None
    text = proxies[scheme]
    variable = next((name for name in os.environ if name.lower() == f"{scheme}_proxy"), "the system's settings")
    remedy = f"set {variable} to another, or NO_PROXY={server.host} to connect directly"
    proxy = Proxy(text if "://" in text else f"http://{text}", variable)
    try:
        url = httpx.URL(proxy.url)
    except httpx.InvalidURL:
        raise ConfigurationError(f"{variable} is not an address: {_without_password(text)!r}; {remedy}") from None
    if url.scheme not in _SCHEMES or not url.host:
        raise ConfigurationError(
            f"{variable} names {_without_password(text)!r}; a proxy's address starts with http://, https://, "
            f"socks5:// or socks5h://; {remedy}"
        )
    if url.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise ConfigurationError(
            f'{variable} names a SOCKS proxy, {_without_password(text)}: pip install "httpx[socks]"; or {remedy}'
        )
    return proxy


def ssl_context(base_url: str, proxy: Proxy | None) -> ssl.SSLContext:
    """What httpx trusts: the certificates of ``SSL_CERT_FILE`` or ``SSL_CERT_DIR``, else those of certifi.

    Raises:
        ConfigurationError: they are needed and cannot be read.
    """
    if not any(url.startswith("https:") for url in (base_url, proxy.url if proxy else "")):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts no certificate, and is not used
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # ssl.SSLError is one
        certificates = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
        names = [name for name in (certificates, "SSLKEYLOGFILE") if os.environ.get(name)]
        used = " and ".join(f"{name}={os.environ[name]}" for name in names)
        raise ConfigurationError(f"cannot set up TLS with {used or 'the certificates of certifi'}: {error}") from None


def _is_loopback(host: str) -> bool:
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _is_excluded(server: httpx.URL, no_proxy: str) -> bool:
    """Whether ``NO_PROXY`` lists the server: as urllib reads it, and with networks and ``*.`` as well."""
    port = server.port or (443 if server.scheme == "https" else 80)
    if proxy_bypass(server.host) or proxy_bypass(f"{server.host}:{port}"):
        return True
    address = _address(server.host)
    for entry in (entry.strip(" []").lower() for entry in no_proxy.split(",")):
        if entry.startswith("*.") and server.host.endswith(entry[1:]):
            return True
        with suppress(ValueError):
            if address is not None and address in ipaddress.ip_network(entry, strict=False):
                return True
    return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that ``host`` is, if it is one: also ``127.1``, which means 127.0.0.1, and IPv4 in IPv6."""
    with suppress(ValueError, OSError):
        address = ipaddress.ip_address(host if ":" in host else socket.inet_ntoa(socket.inet_aton(host)))
        return getattr(address, "ipv4_mapped", None) or address
    return None


def _without_password(url: str) -> str:
    return re.sub(r"[^/@]*@", "***@", url)
