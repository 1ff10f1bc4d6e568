"""Error answers: problems in the form of RFC 9457."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response

from tagstream.stream.serve.errors import RequestError
from tagstream.stream.serve.faces.answers import Problem

JSON = "application/json"
PROBLEM = "application/problem+json"


def json_response(content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """
    Return an answer whose body is already encoded as JSON.

    Args:
        content: The body.
        status: The HTTP status.
        headers: Headers of this answer, beside the headers of every answer.
    """
    return Response(content, status, headers, media_type=JSON)


def refusal(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """
    Return the answer to a refused request.

    Args:
        status: The HTTP status.
        sentence: The reason and the next step.
        headers: Headers of this answer, beside the headers of every answer.
    """
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=sentence)
    return Response(msgspec.json.encode(problem), status, headers, media_type=PROBLEM)


def answer_errors(app: FastAPI) -> None:
    """Make the application answer every error with `refusal`."""

    async def refused(_request: Request, error: RequestError) -> Response:
        return refusal(error.status, str(error), error.headers)

    async def no_path(_request: Request, _error: Exception) -> Response:
        return refusal(404, "There is nothing at this path. Next: /docs lists what there is.")

    async def other_method(_request: Request, error: Any) -> Response:
        sentence = "This path does not take this method. Next: /docs lists what there is."
        return refusal(405, sentence, error.headers)

    async def invalid(_request: Request, error: RequestValidationError) -> Response:
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
