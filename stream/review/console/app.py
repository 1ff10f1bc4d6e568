"""The application of the console: routes behind the guard, and a page for each error that a person can meet."""

from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, Response

from monitoring.metrics.quality import CONTENT_TYPE
from stream.database.database import DatabaseUnavailableError
from stream.review.console import answering, beside
from stream.review.console.desk import Desk
from stream.review.console.doors import reports
from stream.review.console.doors.access import AccessError
from stream.web.guard import Guard, Rules
from stream.web.serving import HEALTH_CONNECTIONS, MOST_CONNECTIONS

MAX_BODY_BYTES = 64 * 1024
MAX_HELD_BYTES = 4 * 1024 * 1024


class NotFilledError(Exception):
    """The store does not know all answers yet: an item that it shows as open may have one."""


def application(desk: Desk, *, names: Iterable[str] = (), origins: Iterable[str] = ()) -> Guard:
    """
    The ASGI application, behind its guard.

    Args:
        desk: Its parts.
        names: Names that a request may have as `Host`, beside localhost and addresses.
        origins: Sites whose pages may post to `/reports`.
    """
    # No page on the interface: it would load its style from another site.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    def filled() -> None:
        if not desk.filled():
            raise NotFilledError(desk.trouble())

    for pages in (answering, beside):
        app.include_router(pages.routes(desk), dependencies=[Depends(filled)])
    app.include_router(reports.routes(desk, origins))

    @app.get("/assets/{digest}/{name}")
    def asset(digest: str, name: str) -> Response:
        return desk.pages.asset(digest, name)

    # On the event loop: the threads may all wait for a store that does not answer.
    @app.get("/healthz")
    async def healthz() -> Response:
        return PlainTextResponse("alive\n")

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(desk.measuring.metrics(), media_type=CONTENT_TYPE)

    @app.get("/readyz")
    async def readyz() -> Response:
        trouble = desk.trouble()
        return PlainTextResponse(f"{trouble or 'ready'}\n", 200 if trouble is None else 503)

    _answer_errors(app, desk)
    rules = Rules(
        names=names,
        max_requests=MOST_CONNECTIONS - HEALTH_CONNECTIONS,
        cross_site={reports.PATH},
        max_body_bytes=MAX_BODY_BYTES,
        max_held_bytes=MAX_HELD_BYTES,
        shorten="shorten the note",
    )
    return Guard(app, rules)


def _answer_errors(app: FastAPI, desk: Desk) -> None:
    """A page for each error that a person can meet."""

    def page(status: int, heading: str, sentence: str) -> Response:
        return desk.pages.render(
            "trouble.html",
            status,
            reviewer="",
            can_rename=False,
            standing=None,
            heading=heading,
            trouble=sentence,
            note="",
        )

    async def unknown_person(_: Request, error: AccessError) -> Response:
        return page(error.status, "You are not signed in", str(error))

    async def not_filled(_: Request, error: NotFilledError) -> Response:
        return page(503, "The console is starting", str(error))

    async def no_store(_: Request, error: DatabaseUnavailableError) -> Response:
        return page(503, "The store does not answer", str(error))

    async def no_page(_: Request, _error: Exception) -> Response:
        return page(HTTPStatus.NOT_FOUND, "There is no such page", "Next: go on with the next item.")

    async def other_method(_: Request, _error: Exception) -> Response:
        return page(HTTPStatus.METHOD_NOT_ALLOWED, "This does not work so", "Next: go on with the next item.")

    async def incomplete(_: Request, _error: RequestValidationError) -> Response:
        return page(400, "Something is missing", "The form came without a field that it needs, so nothing was changed.")

    handlers: dict[type[Exception] | int, Callable[..., Awaitable[Response]]] = {
        AccessError: unknown_person,
        NotFilledError: not_filled,
        DatabaseUnavailableError: no_store,
        HTTPStatus.NOT_FOUND: no_page,
        HTTPStatus.METHOD_NOT_ALLOWED: other_method,
        RequestValidationError: incomplete,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
