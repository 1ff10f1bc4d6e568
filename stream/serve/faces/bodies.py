"""The body of a request, and the number of its rows, within bounds; and the forms of an answer that its client takes."""

import re
from collections.abc import Awaitable, Callable, Sequence
from json import JSONDecodeError, JSONDecoder

from fastapi import Request

from tagstream.stream.serve.errors import RequestError

# Reads all that msgspec reads, and keeps no number.
_ELEMENTS = JSONDecoder(strict=False, parse_int=bool, parse_float=bool)
_BLANKS = re.compile(r"[ \t\n\r]*")


async def bounded(request: Request) -> bytes:
    """
    The body, which the guard has read within its bounds.

    Raises:
        RequestError: It is compressed: a small body could then be a large one.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise RequestError(
            415, f"The body is encoded as {encoding}. Next: send it uncompressed.", {"Accept-Encoding": "identity"}
        )
    return await request.body()


def takes(accept: str, kind: str) -> bool:
    """
    Does a client with this `Accept` take an answer of this kind? The most exact range decides.

    >>> [takes(accept, "application/json") for accept in ("", "*/*", "text/html, application/*;q=0.1", "text/html", "application/json;q=0, */*")]
    [True, True, True, False, False]
    """
    ranges = {"*/*": 0, f"{kind.partition('/')[0]}/*": 1, kind: 2}
    # How exact a range is, and how much its client wants it.
    found = [(0, 1.0)] if not accept.strip() else [(-1, 0.0)]
    for each in accept.lower().split(","):
        name, _, parameters = each.partition(";")
        if (exact := ranges.get(name.strip())) is not None:
            weight = re.search(r"(?:^|;)\s*q=([0-9]*\.?[0-9]+)", parameters)
            found.append((exact, float(weight[1]) if weight else 1.0))
    return max(found)[1] > 0


def giving(kinds: Sequence[str]) -> Callable[[Request], Awaitable[None]]:
    """A dependency of a route whose answers are of these kinds: it refuses a client that takes none of them."""

    async def check(request: Request) -> None:
        accept = ",".join(request.headers.getlist("accept"))
        if not any(takes(accept, kind) for kind in kinds):
            raise RequestError(
                406, f"The answer is {' or '.join(kinds)}, and Accept does not allow that. Next: send Accept: {kinds[0]}."
            )

    return check


def check_rows(rows: int, most: int) -> None:
    """
    Refuse a request that the queue could never take.

    Raises:
        RequestError: It has more rows than may wait.
    """
    if rows > most:
        raise RequestError(413, _too_many(str(rows), most))


def check_elements(array: bytes, most: int) -> None:
    """
    Refuse a JSON array of more elements than may wait, without making the others: four megabytes can be two million.

    Raises:
        RequestError: It has more.
        RecursionError: An element is nested too deep to be read.

    >>> check_elements(b"[1, [2, 3], 4]", 3)
    """
    if array.count(b",") < most:
        return
    # A character for each byte: what stands in a string does not count here.
    text = array.decode("latin-1")
    at = text.index("[")
    for _ in range(most):
        try:
            _, at = _ELEMENTS.raw_decode(text, _behind_blanks(text, at + 1))
        except JSONDecodeError:
            # msgspec ends there too, and says why.
            return
        at = _behind_blanks(text, at)
        if text[at : at + 1] != ",":
            return
    raise RequestError(413, _too_many(f"more than {most}", most))


def _behind_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return at if found is None else found.end()


def _too_many(rows: str, most: int) -> str:
    return f"The request has {rows} rows, {most} are the most. Next: send several requests, or use tagstream batch."
