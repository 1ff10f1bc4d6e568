"""An answer that is no decision: `{"error": SENTENCE}`, on both faces, as the Open Inference Protocol has it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response

from stream.serve.errors import RequestError

JSON = "application/json"


def json_response(content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Bytes that are JSON already."""
    return Response(content, status, headers, media_type=JSON)


def refusal(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer of a request that is refused."""
    return json_response(msgspec.json.encode({"error": sentence}), status, headers)


def answer_errors(app: FastAPI) -> None:
    """Give every error this form."""

    async def refused(_: Request, error: RequestError) -> Response:
        return refusal(error.status, str(error), error.headers)

    async def no_path(_: Request, _error: Exception) -> Response:
        return refusal(404, "There is nothing at this path. Next: /docs lists what there is.")

    async def other_method(_: Request, error: Any) -> Response:
        return refusal(405, "This path does not take this method. Next: /docs lists what there is.", error.headers)

    async def invalid(_: Request, error: RequestValidationError) -> Response:
        found = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        return refusal(400, f"The request is not as /docs describes it ({found}). Next: correct it.")

    handlers: dict[type[Exception] | int, Callable[[Request, Any], Awaitable[Response]]] = {
        RequestError: refused,
        404: no_path,
        405: other_method,
        RequestValidationError: invalid,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
