"""
The console's application, behind its guard: the routes, and a page for each error that a person can meet.

A page's route, its view in `views.py` and its template in `page/` have the same name. Every form works without script.
"""

from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Form, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from tagstream.monitoring.metrics.http import CONTENT_TYPE
from tagstream.stream.contract.answers import OFF_SUBJECT
from tagstream.stream.contract.field_types import MAX_NOTE_CHARACTERS
from tagstream.stream.database.database import DatabaseUnavailableError
from tagstream.stream.review.answer_saver import Saved, Unsaved
from tagstream.stream.review.console import reports, views
from tagstream.stream.review.console.access import COOKIE, MAX_NAME_CHARACTERS, AccessError, clean_name, quoted
from tagstream.stream.review.console.pages import ReviewConsole
from tagstream.stream.review.store.queue import Queue
from tagstream.stream.review.store.records import Claim, Lapsed
from tagstream.stream.web.guard import RequestGuard, RequestRules
from tagstream.stream.web.origins import Origins
from tagstream.stream.web.serving import HEALTH_CONNECTIONS, MOST_CONNECTIONS, ASGIApp

MAX_BODY_BYTES = 64 * 1024
MAX_HELD_BYTES = 4 * 1024 * 1024
OWN_ANSWERS = 50
A_YEAR_SECONDS = 365 * 24 * 3600
Text = Annotated[str, Form()]


class NotFilledError(Exception):
    """The store does not know all answers yet, so an item that it shows as open may be answered."""


def application(console: ReviewConsole, *, names: Iterable[str] = (), origins: Iterable[str] = ()) -> ASGIApp:
    """
    Return the ASGI application, behind its guard.

    Args:
        console: The parts of the console.
        names: Names that a request may have as `Host`, beside localhost and addresses.
        origins: Sites whose pages may post to `/reports`.
    """
    # FastAPI's documentation pages are off, because they would load their style from another site.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    def filled() -> None:
        if not console.filled():
            raise NotFilledError(console.not_ready())

    for routes in (_items, _others, _names):
        app.include_router(routes(console), dependencies=[Depends(filled)])
    sites = Origins(origins)
    app.include_router(reports.routes(console, sites))

    @app.get("/assets/{digest}/{name}")
    def asset(digest: str, name: str) -> Response:
        return console.templates.asset(digest, name)

    # Runs on the event loop, because all threads may be waiting for a store that does not answer.
    @app.get("/healthz")
    async def healthz() -> Response:
        return PlainTextResponse("alive\n")

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(console.measuring.metrics(), media_type=CONTENT_TYPE)

    @app.get("/readyz")
    async def readyz() -> Response:
        trouble = console.not_ready()
        return PlainTextResponse(f"{trouble or 'ready'}\n", 200 if trouble is None else 503)

    _answer_errors(app, console)
    rules = RequestRules(
        names=names,
        max_requests=MOST_CONNECTIONS - HEALTH_CONNECTIONS,
        cross_site={reports.PATH},
        max_body_bytes=MAX_BODY_BYTES,
        max_held_bytes=MAX_HELD_BYTES,
        shorten="shorten the note",
    )
    # A page that reports shows the sentence of a refusal, also of the guard's.
    return sites.shared(RequestGuard(app, rules), reports.PATH)


def _items(console: ReviewConsole) -> APIRouter:
    """Return the routes of an item and its answer."""
    router = APIRouter()

    @router.get("/")
    def item(request: Request) -> Response:
        """Show the item that this reviewer holds, or the next item."""
        reviewer = console.access.reviewer(request)
        claim = console.store.queue.claim(reviewer)
        return console.empty(reviewer) if claim is None else console.item(claim)

    @router.post("/again")
    def again(request: Request, event: Text) -> Response:
        """Take an answered item, so that the reviewer can answer it anew. It becomes the reviewer's next item."""
        reviewer = console.access.reviewer(request)
        claim = console.store.queue.reopen(event, reviewer)
        if isinstance(claim, Lapsed):
            return console.trouble(reviewer, "It cannot be changed now", claim.message, status=409)
        return _to_next()

    @router.post("/answer")
    def answer(
        request: Request,
        event: Text,
        token: Text,
        tag: Text = "",
        note: Text = "",
        back: Text = "",
        twin: Annotated[list[str] | None, Form()] = None,
    ) -> Response:
        """Save the answer or give the item back, and redirect to the next item."""
        reviewer = console.access.reviewer(request)
        if back:
            done = next((one.done for one in views.ACTIONS if one.value == back), Queue.release)
            done(console.store.queue, event, token)
            return _to_next()
        claim = console.store.queue.renew(event, token)
        if isinstance(claim, Lapsed):
            return console.lapsed(reviewer, claim, note)
        if claim.reviewer != reviewer:
            return console.trouble(reviewer, "It is not yours", f"The item is in the hands of {claim.reviewer}.", note, 409)
        # A form ends each line with two characters, but the page counts one.
        typed = note.replace("\r\n", "\n").strip()
        wrong = _wrong(claim, tag, typed)
        if wrong:
            return console.item(claim, note=typed, trouble=wrong, status=422)
        return _outcome(console, claim, typed, console.saving.save(event, token, tag, note=typed or None, also=twin or ()))

    return router


def _wrong(claim: Claim, tag: str, note: str) -> str:
    """Return a sentence about a form that cannot be saved; empty if it can be saved."""
    if len(note) > MAX_NOTE_CHARACTERS:
        return f"The note has {len(note):,} characters; {MAX_NOTE_CHARACTERS:,} are the most. Next: shorten it."
    if tag not in claim.item.decision.probabilities and tag != OFF_SUBJECT:
        return "Choose one of the tags."
    return ""


def _outcome(console: ReviewConsole, claim: Claim, note: str, outcome: Saved | Lapsed | Unsaved) -> Response:
    match outcome:
        case Saved():
            return _to_next()
        case Lapsed():
            return console.lapsed(claim.reviewer, outcome, note)
        case Unsaved(arrived=None):
            heading = "It is not known whether your answer is saved"
            return console.trouble(claim.reviewer, heading, outcome.message, note, 503)
        case Unsaved():
            return console.item(claim, note=note, trouble=outcome.message, status=503)


def _others(console: ReviewConsole) -> APIRouter:
    """Return the routes of a reviewer's answers, live quality, help, and the requests of the page's script."""
    router = APIRouter()

    @router.post("/standing.json")
    def standing(request: Request) -> Response:
        """Take an item for this reviewer, if there is one. The page of an empty queue sends this request."""
        claim = console.store.queue.claim(console.access.reviewer(request))
        return JSONResponse({"next": claim is not None, "waiting": console.store.queue.figures().length})

    @router.get("/answers")
    def answers(request: Request) -> Response:
        """Show the reviewer's newest answers, each with a button to change it."""
        reviewer = console.access.reviewer(request)
        own = console.store.queue.own(reviewer, OWN_ANSWERS)
        return console.page("answers.html", reviewer, answers=views.answers(own, console.now_ms()))

    @router.get("/quality")
    def quality(request: Request) -> Response:
        """Show the live quality of the decisions, measured by people's answers."""
        measuring = console.measuring
        shown = views.quality(measuring.latest, measuring.worth, measuring.failure)
        return console.page("quality.html", console.access.reviewer(request), quality=shown)

    @router.get("/help")
    def show_help(request: Request) -> Response:
        """Show how to answer."""
        return console.page("help.html", console.access.reviewer(request))

    @router.post("/renew")
    def renew(request: Request, event: Annotated[str, Form()], token: Annotated[str, Form()]) -> Response:
        """Renew the reviewer's lease while the reviewer types."""
        console.access.reviewer(request)
        claim = console.store.queue.renew(event, token)
        if isinstance(claim, Lapsed):
            return JSONResponse({"message": claim.message}, 409)
        return JSONResponse({"until_ms": claim.until_ms})

    return router


def _names(console: ReviewConsole) -> APIRouter:
    """Return the routes of the name of a reviewer without a login."""
    router = APIRouter()

    @router.get("/name")
    def name_page(request: Request) -> Response:
        """Show the form in which a reviewer without a login enters a name."""
        reviewer = console.access.reviewer(request)
        return console.page("name.html", reviewer, name=reviewer, trouble="") if console.can_rename else _to_next()

    @router.post("/name")
    def rename(request: Request, name: Annotated[str, Form()] = "") -> Response:
        """Remember the name in a cookie of this browser."""
        reviewer = console.access.reviewer(request)
        if not console.can_rename:
            return _to_next()
        cleaned = clean_name(name)
        if cleaned is None:
            trouble = f"A name has 1 to {MAX_NAME_CHARACTERS} characters, all of them visible."
            return console.page("name.html", reviewer, 422, name=name[:MAX_NAME_CHARACTERS], trouble=trouble)
        response = _to_next()
        response.set_cookie(COOKIE, quoted(cleaned), max_age=A_YEAR_SECONDS, httponly=True, samesite="strict")
        return response

    return router


def _to_next() -> RedirectResponse:
    """Redirect to the next item. The target never comes from a request."""
    return RedirectResponse("/", HTTPStatus.SEE_OTHER)


def _answer_errors(app: FastAPI, console: ReviewConsole) -> None:
    """Add a page for each error that a person can meet."""

    def page(status: int, heading: str, sentence: str) -> Response:
        return console.templates.render(
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
        return page(
            HTTPStatus.METHOD_NOT_ALLOWED, "This page does not take that kind of request", "Next: go on with the next item."
        )

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
