"""The address of the metrics endpoint, and the advice if it cannot be bound. Worker and doctor give the same advice."""

import errno
import socket

from tagstream.stream.settings.settings import Settings

# Hosts that mean every address of the machine: a client on the same machine uses the loopback address instead.
EVERYWHERE = frozenset({"0.0.0.0", "::", "[::]", ""})  # noqa: S104


class NoPortError(Exception):
    """The settings have no fixed port of the metrics: each worker takes a free port. The message says where to find it."""

    exit_code = 2


def own_address(settings: Settings) -> str:
    """
    The URL of a worker's metrics for a client on the same machine.

    Raises:
        NoPortError: `metrics_port` is 0.

    >>> own_address(Settings(metrics_host="::1", metrics_port=7))
    'http://[::1]:7/metrics'
    """
    host = "127.0.0.1" if settings.metrics_host in EVERYWHERE else settings.metrics_host
    address = f"http://{f'[{host}]' if ':' in host else host}"
    if settings.metrics_port == 0:
        msg = (
            "metrics_port is 0, so each worker takes a free port, which its log line worker_starting has. "
            f"Next: name the address: tagstream top {address}:PORT/metrics"
        )
        raise NoPortError(msg)
    return f"{address}:{settings.metrics_port}/metrics"


def is_taken(error: BaseException | None) -> bool:
    """True if another process holds the port. Every other error of binding means that the settings are wrong."""
    return isinstance(error, OSError) and not isinstance(error, socket.gaierror) and error.errno == errno.EADDRINUSE


def next_step(error: BaseException | None) -> str:
    """
    Advice on an error of binding: the host is wrong, the port is privileged, or another process holds it.

    >>> next_step(PermissionError(errno.EACCES, "Permission denied"))
    'set TAGSTREAM_METRICS_PORT to one that this user may bind, 1024 or more.'
    """
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, socket.gaierror) or number in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
        return "set TAGSTREAM_METRICS_HOST to an address of this machine (127.0.0.1; 0.0.0.0 is all of them)."
    if number in {errno.EACCES, errno.EPERM}:
        return "set TAGSTREAM_METRICS_PORT to one that this user may bind, 1024 or more."
    return (
        "stop the process that holds the port, or set TAGSTREAM_METRICS_PORT=0 for a free port: it is logged, but a scrape "
        "configuration does not know it."
    )
