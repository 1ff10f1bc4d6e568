"""The address of the metrics, where it cannot be bound: worker and doctor say the same of it."""

import errno
import socket

from stream.settings.settings import Settings

# Hosts that mean every address of the machine: a client on the same machine asks loopback instead.
EVERYWHERE = frozenset({"0.0.0.0", "::", "[::]", ""})  # noqa: S104


def own_address(settings: Settings) -> str:
    """
    The URL at which a worker of these settings serves its metrics, seen from the same machine.

    >>> own_address(Settings(metrics_host="::1", metrics_port=7))
    'http://[::1]:7/metrics'
    """
    host = "127.0.0.1" if settings.metrics_host in EVERYWHERE else settings.metrics_host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.metrics_port}/metrics"


def is_taken(why: BaseException | None) -> bool:
    """Is it another process that has it, which may be a worker? Else the settings are wrong."""
    return isinstance(why, OSError) and not isinstance(why, socket.gaierror) and why.errno == errno.EADDRINUSE


def next_step(why: BaseException | None) -> str:
    """
    What to do: is it the host, the right to its port, or another process?

    >>> next_step(PermissionError(errno.EACCES, "Permission denied"))
    'set TAGSTREAM_METRICS_PORT to one that this user may take, 1024 or more.'
    """
    number = why.errno if isinstance(why, OSError) else None
    if isinstance(why, socket.gaierror) or number in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
        return "set TAGSTREAM_METRICS_HOST to an address of this machine (127.0.0.1; 0.0.0.0 is all of them)."
    if number in {errno.EACCES, errno.EPERM}:
        return "set TAGSTREAM_METRICS_PORT to one that this user may take, 1024 or more."
    return (
        "stop what holds it, or set TAGSTREAM_METRICS_PORT=0 for a free port: the log names it, a scrape configuration does not "
        "know it then."
    )
