"""Free ports on the loopback address that stay free while their broker is down."""

import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"

# Below every common system's ephemeral range. A port inside it can be taken, while its broker is down, by the very
# client that tries to reconnect (a TCP self-connection), and then the restarted broker cannot have it back.
_LOWEST = 20_000
_EPHEMERAL = 32_768
_TRIES = 500


def free_ports(count: int) -> tuple[int, ...]:
    """
    Distinct ports without a listener now.

    Another process may take one before its broker binds it: the caller looks for that and asks again.

    Raises:
        OSError: No free port was found; the message has the range that was tried.
    """
    highest = _lowest_ephemeral() - 1
    found: set[int] = set()
    for _ in range(_TRIES):
        if len(found) == count:
            return tuple(found)
        port = random.randint(_LOWEST, highest)  # noqa: S311 - spreads neighbours apart, keeps no secret
        if is_free(port):
            found.add(port)
    msg = f"no {count} free ports on {LOOPBACK} between {_LOWEST} and {highest} after {_TRIES} tries"
    raise OSError(msg)


def is_free(port: int) -> bool:
    """Whether a listener could have `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As a broker does it: connections of an earlier broker in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _lowest_ephemeral() -> int:
    try:
        lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    except FileNotFoundError:
        return _EPHEMERAL
    # A host that gives nearly all ports to clients leaves no room below: the usual range is as good as any then.
    return min(lowest, _EPHEMERAL) if lowest > _LOWEST + 1_000 else _EPHEMERAL
