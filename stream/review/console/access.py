"""
Finds the person behind a request: from a header of a trusted proxy, or on loopback from a cookie of the browser.

Without a proxy the name only tells reviewers apart; it proves nothing. So without a proxy the console listens only on loopback, unless its
operator says otherwise.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from fastapi.requests import HTTPConnection

COOKIE = "tagstream_reviewer"
MAX_NAME_CHARACTERS = 100
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AccessError(Exception):
    """The person behind a request is not known. The error has an HTTP `status` and a sentence with the next step."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class ProxyError(ValueError):
    """A value of `--trusted-proxy` is not an address."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """
    A proxy that has signed people in.

    Attributes:
        header: The header that the proxy sets to the person's name. The proxy removes this header from clients' requests.
        addresses: The networks from which the proxy connects.
    """

    header: str
    addresses: tuple[Network, ...]

    def reviewer(self, request: HTTPConnection) -> str:
        """
        Return the person's name.

        Raises:
            AccessError: The request does not come from the proxy, or has no name.
        """
        self._check(request)
        names = request.headers.getlist(self.header)
        # Of two names, one may come from the client. HTTP treats two headers and one header with a comma alike.
        if len(names) != 1 or "," in names[0] or (found := clean_name(names[0])) is None:
            raise AccessError(
                401, f"The proxy sent no name in {self.header}. Next: sign in, or look at the proxy's configuration."
            )
        return found

    def caller(self, request: HTTPConnection) -> str:
        """
        Return the address of the reporter, for the rate limit: the last address in the proxy's header. A client may invent earlier ones.

        Raises:
            AccessError: The request does not come from the proxy.
        """
        self._check(request)
        return request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip() or _peer(request)

    def _check(self, request: HTTPConnection) -> None:
        if not self._trusts(_peer(request)):
            sentence = (
                f"{_peer(request)} is not a trusted proxy. Next: open the console through its proxy, or add the address "
                "with --trusted-proxy."
            )
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
    Access without a login, by the name in the browser's cookie.

    Attributes:
        name: The name for a browser without a cookie: the user who started the console.
    """

    name: str

    def reviewer(self, request: HTTPConnection) -> str:
        """Return the name in the cookie, or `self.name` if the cookie has no valid name."""
        return clean_name(unquoted(request.cookies.get(COOKIE, ""))) or self.name

    def caller(self, request: HTTPConnection) -> str:
        """Return the address of the reporter, for the rate limit."""
        return _peer(request)


Access = Proxy | Remembered


def proxy(header: str, addresses: Iterable[str]) -> Proxy:
    """
    Return the proxy in the options of the command.

    Raises:
        ProxyError: A value is neither an address nor a network.

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
    Return a reviewer's name as it is kept; None if it is empty, too long, or has invisible characters.

    >>> clean_name("  Ada Lovelace "), clean_name(""), clean_name("a\u202eb")
    ('Ada Lovelace', None, None)
    """
    name = " ".join(given.split())
    return name if 0 < len(name) <= MAX_NAME_CHARACTERS and name.isprintable() else None


def quoted(name: str) -> str:
    """Return a name in ASCII, as a cookie can carry it."""
    return name.encode().hex()


def unquoted(cookie: str) -> str:
    """Return the name in a cookie; empty if the console did not write the cookie."""
    try:
        return bytes.fromhex(cookie).decode()
    except ValueError:
        return ""
