"""
Which `Host` a request may name.

A web page can let its own name point to this server's address and then read the answers as its own (DNS rebinding). The browser sends
that name as `Host`. An address cannot be pointed elsewhere, so every address is allowed.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable

HOST = re.compile(r"(?P<name>\[[^\[\]]+\]|[^\[\]:]+)(:\d*)?")


class Hosts:
    """
    The names that one server answers to, beside `localhost`, this machine's own name, and every IP address.

    >>> hosts = Hosts(["worker"])
    >>> [hosts.know(host) for host in ("127.0.0.1:9108", "[::1]:9108", "LOCALHOST", "worker:9108", "evil.example", "worker@evil.example")]
    [True, True, True, True, False, False]
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        """`names` may include addresses."""
        self._names = frozenset(name.lower() for name in ("localhost", socket.gethostname(), *names))

    def know(self, host: str | None) -> bool:
        """Whether a request with this `Host` is answered. None: it has none, so that it is not a browser's."""
        if host is None:
            return True
        found = HOST.fullmatch(host.strip())
        if found is None:
            return False
        name = found["name"].lower().removesuffix(".")
        return name in self._names or _is_address(name.strip("[]"))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
