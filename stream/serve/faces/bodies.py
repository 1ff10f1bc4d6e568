"""Checks of a request: the encoding of its body, the number of its rows, and the content types that its client accepts."""

import re
from json import JSONDecodeError, JSONDecoder

from fastapi import Request

from tagstream.stream.serve.errors import RequestError
from tagstream.stream.serve.faces.problems import JSON

# Accepts all JSON that msgspec accepts. Numbers are not converted: each becomes a boolean.
_ELEMENTS = JSONDecoder(strict=False, parse_int=bool, parse_float=bool)
_BLANKS = re.compile(r"[ \t\n\r]*")


async def bounded(request: Request) -> bytes:
    """
    Return the body. The guard has bounded its size.

    Raises:
        RequestError: The body is compressed. A small compressed body could become a large one.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise RequestError(
            415, f"The body is encoded as {encoding}. Next: send it uncompressed.", {"Accept-Encoding": "identity"}
        )
    return await request.body()


def takes(accept: str, kind: str) -> bool:
    """
    Return True if a client with this `Accept` accepts this content type. The most specific media range decides.

    >>> [takes(accept, "application/json") for accept in ("", "*/*", "text/html, application/*;q=0.1", "text/html", "application/json;q=0, */*")]
    [True, True, True, False, False]
    """
    ranges = {"*/*": 0, f"{kind.partition('/')[0]}/*": 1, kind: 2}
    # Each pair: how specific a range is, and its weight `q`.
    found = [(0, 1.0)] if not accept.strip() else [(-1, 0.0)]
    for each in accept.lower().split(","):
        name, _, parameters = each.partition(";")
        if (exact := ranges.get(name.strip())) is not None:
            weight = re.search(r"(?:^|;)\s*q=([0-9]*\.?[0-9]+)", parameters)
            found.append((exact, float(weight[1]) if weight else 1.0))
    return max(found)[1] > 0


async def gives_json(request: Request) -> None:
    """Refuse a client that does not accept JSON. A dependency of a route."""
    if not takes(",".join(request.headers.getlist("accept")), JSON):
        raise RequestError(406, f"The answer is {JSON}, and Accept does not allow that. Next: send Accept: {JSON}.")


def check_rows(rows: int, most: int) -> None:
    """
    Refuse a request that does not fit into an empty queue.

    Raises:
        RequestError: The request has more than `most` rows.
    """
    if rows > most:
        raise RequestError(413, _too_many(str(rows), most))


def check_elements(array: bytes, most: int) -> None:
    """
    Refuse a JSON array of more than `most` elements. Elements beyond `most` are not decoded: four megabytes can hold two million.

    Raises:
        RequestError: The array has more than `most` elements.
        RecursionError: An element is nested too deep to be decoded.

    >>> check_elements(b"[1, [2, 3], 4]", 3)
    """
    if array.count(b",") < most:
        return
    # Latin-1 decodes any bytes, one character each. The content of strings does not matter for counting elements.
    text = array.decode("latin-1")
    at = text.index("[")
    for _ in range(most):
        try:
            _, at = _ELEMENTS.raw_decode(text, _behind_blanks(text, at + 1))
        except JSONDecodeError:
            # msgspec will fail here too, and its error has the reason.
            return
        at = _behind_blanks(text, at)
        if text[at : at + 1] != ",":
            return
    raise RequestError(413, _too_many(f"more than {most}", most))


def _behind_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return at if found is None else found.end()


def _too_many(rows: str, most: int) -> str:
    return f"The request has {rows} rows, and at most {most} are allowed. Next: send several requests, or use tagstream batch."
