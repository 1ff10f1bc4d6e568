"""The pages beside the items: a reviewer's answers, help, the name of a reviewer without a login, and what the script asks for."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import JSONResponse, Response

from stream.review.console import measuring, views
from stream.review.console.desk import Desk
from stream.review.console.doors.access import COOKIE, MAX_NAME_CHARACTERS, clean_name, quoted
from stream.review.console.screen import Screen, to_next
from stream.review.live_quality import left_out
from stream.review.store.facts import Lapsed

OWN_ANSWERS = 50
A_YEAR_SECONDS = 365 * 24 * 3600


def routes(desk: Desk) -> APIRouter:
    """The routes over the desk's parts."""
    router = APIRouter()
    screen = Screen(desk)

    @router.get("/standing.json")
    def standing(request: Request) -> Response:
        """Whether there is an item for this reviewer: the page on which nothing waits asks for it."""
        claim = desk.store.claim(desk.access.reviewer(request))
        return JSONResponse({"next": claim is not None, "waiting": desk.store.queue().length})

    @router.get("/answers")
    def answers(request: Request) -> Response:
        """The reviewer's newest answers, each with a way to change it."""
        reviewer = desk.access.reviewer(request)
        own = desk.store.own(reviewer, OWN_ANSWERS)
        now_ms = desk.now_ms()
        return screen.page("answers.html", reviewer, answers=[views.own_answer(given, now_ms) for given in own])

    @router.get("/quality")
    def quality(request: Request) -> Response:
        """How right the decisions are, as people find."""
        found = desk.measuring.latest
        return screen.page(
            "quality.html",
            desk.access.reviewer(request),
            headline=measuring.headline(found, desk.measuring.failure),
            left_out="" if found is None else left_out(found),
            advice="" if found is None else measuring.advice(found),
            tables=() if found is None else measuring.tables(found),
        )

    @router.get("/help")
    def help_page(request: Request) -> Response:
        """How to answer."""
        return screen.page("help.html", desk.access.reviewer(request))

    @router.post("/renew")
    def renew(request: Request, event: Annotated[str, Form()], token: Annotated[str, Form()]) -> Response:
        """Hold the item for longer, while its reviewer types."""
        desk.access.reviewer(request)
        claim = desk.store.renew(event, token)
        if isinstance(claim, Lapsed):
            return JSONResponse({"message": claim.message}, 409)
        return JSONResponse({"until_ms": claim.until_ms})

    _add_names(router, desk, screen)
    return router


def _add_names(router: APIRouter, desk: Desk, screen: Screen) -> None:
    @router.get("/name")
    def name_page(request: Request) -> Response:
        """Where a reviewer without a login says who answers."""
        reviewer = desk.access.reviewer(request)
        return screen.page("name.html", reviewer, name=reviewer, trouble="") if screen.can_rename else to_next()

    @router.post("/name")
    def rename(request: Request, name: Annotated[str, Form()] = "") -> Response:
        """Remember the name in a cookie of this browser."""
        reviewer = desk.access.reviewer(request)
        if not screen.can_rename:
            return to_next()
        cleaned = clean_name(name)
        if cleaned is None:
            trouble = f"A name has 1 to {MAX_NAME_CHARACTERS} characters, all of them visible."
            return screen.page("name.html", reviewer, 422, name=name[:MAX_NAME_CHARACTERS], trouble=trouble)
        response = to_next()
        response.set_cookie(COOKIE, quoted(cleaned), max_age=A_YEAR_SECONDS, httponly=True, samesite="strict")
        return response
