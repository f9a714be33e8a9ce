"""The URLs at which a listening server is reached."""

import socket
from contextlib import suppress
from typing import NamedTuple

# Addresses that mean every address of the machine, and the loopback address of each.
_EVERY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104

# Addresses reserved for documentation: outside of any network that a machine is in.
_OUTSIDE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


class Addresses(NamedTuple):
    """Base URLs of a server.

    Attributes:
        local: works on this machine.
        remote: works on other machines; None: no other than `local` is known.
    """

    local: str
    remote: str | None


def addresses(listener: socket.socket, host: str, scheme: str) -> Addresses:
    """The URLs of a server.

    Args:
        listener: the listening socket.
        host: the name or address that it was opened for.
        scheme: http or https.
    """
    address, port = listener.getsockname()[:2]

    def url(host: str) -> str:
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    if address not in _EVERY:
        return Addresses(url(host), None)
    return Addresses(url(_EVERY[address]), url(_own_address()))


def _own_address() -> str:
    """The address of this machine in its network, or its name if it has no network."""
    for family, outside in _OUTSIDE:
        # Connecting a datagram socket selects a route and its local address; nothing is sent.
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((outside, 9))
            return str(probe.getsockname()[0])
    return socket.gethostname()
