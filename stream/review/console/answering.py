"""One item at a time, and its answer. Every form works without script."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from stream.contract.answers import OFF_SUBJECT
from stream.contract.parsing.typed import MAX_NOTE_CHARACTERS
from stream.review.console.desk import Desk
from stream.review.console.screen import Screen, to_next
from stream.review.saving import Saved, Unsaved
from stream.review.store.facts import Claim, Lapsed

Text = Annotated[str, Form()]


def routes(desk: Desk) -> APIRouter:
    """The routes over the desk's parts."""
    router = APIRouter()
    screen = Screen(desk)

    @router.get("/")
    def next_item(request: Request) -> Response:
        """The item that this reviewer holds, or the next one."""
        reviewer = desk.access.reviewer(request)
        claim = desk.store.claim(reviewer)
        return screen.nothing(reviewer) if claim is None else screen.item(claim)

    @router.get("/again")
    def again(request: Request, id: str) -> Response:  # noqa: A002 - the name in the address
        """An item that has an answer, to be answered anew."""
        reviewer = desk.access.reviewer(request)
        claim = desk.store.reopen(id, reviewer)
        if isinstance(claim, Lapsed):
            return screen.trouble(reviewer, "It cannot be changed now", claim.message, status=409)
        return screen.item(claim)

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
        """Save the answer, or give the item back; then the next item."""
        reviewer = desk.access.reviewer(request)
        if back:
            # A correction that is not given goes back with its answer; an open item goes to others.
            (desk.store.skip if back == "skip" else desk.store.release)(event, token)
            return to_next()
        claim = desk.store.renew(event, token)
        if isinstance(claim, Lapsed):
            return screen.lapsed(reviewer, claim, note)
        if claim.reviewer != reviewer:
            return screen.trouble(reviewer, "It is not yours", f"The item is in the hands of {claim.reviewer}.", note, 409)
        # A form ends lines with two characters; a page counts one.
        typed = note.replace("\r\n", "\n").strip()
        wrong = _wrong(claim, tag, typed)
        if wrong:
            return screen.item(claim, note=typed, trouble=wrong, status=422)
        return _outcome(screen, claim, typed, desk.saving.save(event, token, tag, note=typed or None, also=twin or ()))

    return router


def _wrong(claim: Claim, tag: str, note: str) -> str:
    """A sentence on a form that cannot be saved; empty for a good one."""
    if len(note) > MAX_NOTE_CHARACTERS:
        return f"The note has {len(note):,} characters; {MAX_NOTE_CHARACTERS:,} are the most. Next: shorten it."
    if tag not in claim.item.probabilities and tag != OFF_SUBJECT:
        return "Choose one of the tags."
    return ""


def _outcome(screen: Screen, claim: Claim, note: str, outcome: Saved | Lapsed | Unsaved) -> Response:
    match outcome:
        case Saved():
            return to_next()
        case Lapsed():
            return screen.lapsed(claim.reviewer, outcome, note)
        case Unsaved(arrived=None):
            heading = "It is not known whether your answer is saved"
            return screen.trouble(claim.reviewer, heading, outcome.message, note, 503)
        case Unsaved():
            return screen.item(claim, note=note, trouble=outcome.message, status=503)
