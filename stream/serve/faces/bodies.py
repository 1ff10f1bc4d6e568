"""The body of a request, and the number of its rows, within bounds."""

from fastapi import Request

from stream.serve.errors import RequestError


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


def check_rows(rows: int, most: int) -> None:
    """
    Refuse a request that the queue could never take.

    Raises:
        RequestError: It has more rows than may wait.
    """
    if rows > most:
        raise RequestError(
            413, f"The request has {rows} rows, {most} are the most. Next: send several requests, or use tagstream batch."
        )
