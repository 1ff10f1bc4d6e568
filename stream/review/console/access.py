"""
The person behind a request: by a header of a trusted proxy, or on loopback by a name that the browser remembers.

Without a proxy the name is no proof; it tells reviewers apart. So without one the console listens on loopback alone, unless its operator says
otherwise.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from fastapi.requests import HTTPConnection

COOKIE = "tagstream_reviewer"
MAX_NAME_CHARACTERS = 100
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AccessError(Exception):
    """A request whose person is not known: `status` and a sentence with the next step."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class ProxyError(ValueError):
    """An address of `--trusted-proxy` that is none."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """
    A proxy that has signed people in.

    Attributes:
        header: The header that it sets to the person's name, and that it removes from what clients send.
        addresses: From where it connects.
    """

    header: str
    addresses: tuple[Network, ...]

    def reviewer(self, request: HTTPConnection) -> str:
        """
        The person's name.

        Raises:
            AccessError: The request does not come from the proxy, or has no name.
        """
        self._check(request)
        names = request.headers.getlist(self.header)
        # Two names, in two headers or in one with a comma, which is the same by HTTP: one of them may be the client's own.
        if len(names) != 1 or "," in names[0] or (found := clean_name(names[0])) is None:
            raise AccessError(
                401, f"The proxy sent no name in {self.header}. Next: sign in, or look at the proxy's configuration."
            )
        return found

    def caller(self, request: HTTPConnection) -> str:
        """
        The address of who reports, for the rate: the last one that the proxy saw, since earlier ones may be invented.

        Raises:
            AccessError: The request does not come from the proxy.
        """
        self._check(request)
        return request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip() or _peer(request)

    def _check(self, request: HTTPConnection) -> None:
        if not self._trusts(_peer(request)):
            sentence = f"{_peer(request)} is no trusted proxy. Next: open the console by its proxy, or add the address with --trusted-proxy."
            raise AccessError(403, sentence)

    def _trusts(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return any((mapped or address) in network for network in self.addresses)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """
    No login: the name in the browser's cookie.

    Attributes:
        name: Of a browser that has not given one: the user who started the console.
    """

    name: str

    def reviewer(self, request: HTTPConnection) -> str:
        """The name; one that is not a name counts as none."""
        return clean_name(unquoted(request.cookies.get(COOKIE, ""))) or self.name

    def caller(self, request: HTTPConnection) -> str:
        """The address of who reports, for the rate."""
        return _peer(request)


Access = Proxy | Remembered


def proxy(header: str, addresses: Iterable[str]) -> Proxy:
    """
    A proxy by the options of the command.

    Raises:
        ProxyError: An address is neither an address nor a network.

    >>> proxy("X-Forwarded-User", ["10.0.0.5", "fd00::/8"]).addresses[0]
    IPv4Network('10.0.0.5/32')
    """
    try:
        return Proxy(header=header, addresses=tuple(ipaddress.ip_network(address) for address in addresses))
    except ValueError as error:
        msg = f"--trusted-proxy: {error}. Next: give an IP address, or a network such as 10.0.0.0/24."
        raise ProxyError(msg) from error


def _peer(request: HTTPConnection) -> str:
    return request.client.host if request.client else "a client without an address"


def clean_name(given: str) -> str | None:
    r"""
    A reviewer's name as it is kept, or None where it is no name: empty, too long, or with characters that are not seen.

    >>> clean_name("  Ada Lovelace "), clean_name(""), clean_name("a\u202eb")
    ('Ada Lovelace', None, None)
    """
    name = " ".join(given.split())
    return name if 0 < len(name) <= MAX_NAME_CHARACTERS and name.isprintable() else None


def quoted(name: str) -> str:
    """A name as a cookie can carry it: ASCII alone."""
    return name.encode().hex()


def unquoted(cookie: str) -> str:
    """The name in a cookie; empty where a stranger wrote the cookie."""
    try:
        return bytes.fromhex(cookie).decode()
    except ValueError:
        return ""
