"""A cluster on this machine alone: Ray and its replicas as child processes."""

import os
import signal
import time
from collections.abc import Callable
from types import FrameType

import ray
from ray import serve

from maskery.api.model_settings import make_registry
from maskery.cluster.deployment import deployment
from maskery.serving import ServingError
from maskery.serving.addresses import Addresses, addresses
from maskery.serving.server import listen
from maskery.settings import Settings

# Settings whose defaults assume a machine of one's own.
_SHARED = ("workers", "cache_bytes", "candidate_cache_bytes", "model_memory", "max_upload_bytes")

# Ray refuses less.
_MIN_OBJECT_STORE = 100 * 2**20

_NAME = "maskery"

# Seconds for the end of replicas that have no requests left.
_LAST = 10.0


class _Stop(BaseException):
    """SIGTERM or SIGINT."""


def run(settings: Settings, replicas: int, greet: Callable[[Addresses], None]) -> None:
    """Start Ray on this machine with replicas of the server, and serve until a signal stops the process.

    Args:
        greet: called with the server's addresses when all replicas are ready.

    Raises:
        ModelNotInstalled: an alias, or the setting `preload`, names a model that is not installed.
        ServingError: the address cannot be used, or the replicas did not start.
    """
    # Ray would try to start the replicas again and again.
    registry = make_registry(settings)
    for name in settings.preload or ():
        registry.describe(name)
    port, reached_at = _find_port(settings)
    # The replicas inherit it.
    os.environ.update(replica_environment(settings, replicas))

    def stop(signal: int, frame: FrameType | None) -> None:
        raise _Stop

    try:
        try:
            ray.init(
                address="local",
                include_dashboard=False,
                num_cpus=replicas,
                object_store_memory=max(_MIN_OBJECT_STORE, settings.max_upload_bytes),
                logging_level="warning",
                # For its own ports; the server's address is that of the settings.
                _node_ip_address="127.0.0.1",
            )
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, stop)
            _deploy(settings, replicas, port)
            greet(reached_at)
            while True:
                signal.pause()
        except _Stop:
            _drain(settings.grace_period)
    except _Stop:
        # A second signal: without waiting.
        pass
    finally:
        ray.shutdown()


def _deploy(settings: Settings, replicas: int, port: int) -> None:
    tls = {"ssl_certfile": str(settings.tls_certificate), "ssl_keyfile": str(settings.tls_key)}
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": settings.host, "port": port, **(tls if settings.tls_certificate else {})},
        logging_config={"enable_access_log": False, "log_level": "WARNING"},
    )
    try:
        serve.run(deployment(replicas, settings.grace_period), name=_NAME)
    except RuntimeError as error:
        raise ServingError(f"the replicas did not start: {str(error).strip()}") from None


def _drain(grace_period: float) -> None:
    """Let replicas finish their requests, while the proxy answers further ones with 503."""
    serve.delete(_NAME, _blocking=False)
    deadline = time.monotonic() + grace_period + _LAST
    while _NAME in serve.status().applications and time.monotonic() < deadline:
        time.sleep(0.1)


def replica_environment(settings: Settings, replicas: int) -> dict[str, str]:
    """The settings that replicas do not find by themselves: arguments of the command, and shares of the machine."""
    shares = {
        name: str(max(1, getattr(settings, name) // replicas))
        for name in _SHARED
        if name not in settings.model_fields_set
    }
    given = {
        "host": settings.host,
        "anonymous": str(settings.anonymous).lower(),
        "trusted_proxies": ",".join(settings.trusted_proxies),
        "log_level": settings.log_level,
    }
    return {f"MASKERY_{name.upper()}": value for name, value in (shares | given).items()}


def _find_port(settings: Settings) -> tuple[int, Addresses]:
    """The port of the settings, or for 0 a free one, and the URLs of a server on it. Ray opens it itself."""
    with listen(settings) as listener:
        scheme = "https" if settings.tls_certificate else "http"
        return listener.getsockname()[1], addresses(listener, settings.host, scheme)
