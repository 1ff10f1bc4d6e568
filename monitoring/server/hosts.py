"""
The check of the `Host` header of requests.

A web page can let its own name point to this server's address and then read the answers as its own (DNS rebinding). The browser sends
the page's name as `Host`, so an unknown name is refused. An address cannot be pointed elsewhere, so every address is allowed.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable

HOST = re.compile(r"(?P<name>\[[^\[\]]+\]|[^\[\]:]+)(:\d*)?")


class Hosts:
    """
    The hosts that a server answers for: `localhost`, this machine's own name, every IP address, and further names.

    >>> hosts = Hosts(["worker"])
    >>> [hosts.know(host) for host in ("127.0.0.1:9108", "[::1]:9108", "LOCALHOST", "worker:9108", "evil.example", "worker@evil.example")]
    [True, True, True, True, False, False]
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        """`names` may include addresses."""
        self._names = frozenset(name.lower() for name in ("localhost", socket.gethostname(), *names))

    def know(self, host: str | None) -> bool:
        """Whether a request with this `Host` is answered. None means no `Host`: the request is not from a browser, and is answered."""
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
