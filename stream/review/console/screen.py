"""Renders the pages of a reviewer, each with the header's figures."""

from fastapi.responses import RedirectResponse, Response

from stream.contract.parsing.typed import MAX_NOTE_CHARACTERS
from stream.review.console import views
from stream.review.console.desk import Desk
from stream.review.console.doors.access import Remembered
from stream.review.console.shapes import Saved
from stream.review.store.facts import Claim, Lapsed

SEE_OTHER = 303


def to_next() -> RedirectResponse:
    """To the next item; a redirect never goes where a request says."""
    return RedirectResponse("/", SEE_OTHER)


class Screen:
    """The pages over the parts of a desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.can_rename = isinstance(desk.access, Remembered)

    def page(self, template: str, reviewer: str, status: int = 200, **values: object) -> Response:
        """Any page of a reviewer."""
        store = self._desk.store
        standing = views.standing(store.queue(), store.pace(reviewer), self._desk.now_ms())
        return self._desk.pages.render(
            template, status, reviewer=reviewer, can_rename=self.can_rename, standing=standing, **values
        )

    def item(self, claim: Claim, *, note: str | None = None, trouble: str = "", status: int = 200) -> Response:
        """The page of an item in this reviewer's hands."""
        store, event_id = self._desk.store, claim.item.event_id
        shown = views.item(claim, store.neighbours(event_id), store.duplicates(event_id), note=note)
        # The strip of the last answer would say what was decided about the very item that is corrected; the page says it itself.
        last = None if claim.version > 1 else self._last(claim.reviewer)
        return self.page(
            "item.html",
            claim.reviewer,
            status,
            item=shown,
            saved=last,
            trouble=trouble,
            guidelines=self._desk.guidelines.about(claim.item.probabilities),
            max_note=MAX_NOTE_CHARACTERS,
        )

    def nothing(self, reviewer: str) -> Response:
        """The page where no item is left for this reviewer."""
        queue = self._desk.store.queue()
        left = f"{queue.length} wait for others: they hold them, or you skipped or answered them." if queue.length else ""
        why = left or "Every item of the queue has an answer. This page looks again by itself."
        return self.page("empty.html", reviewer, why=why, saved=self._last(reviewer))

    def lapsed(self, reviewer: str, lapsed: Lapsed, note: str) -> Response:
        """The item is another's now; the note that was typed is shown."""
        return self.trouble(reviewer, "Your answer is not saved", lapsed.message, note, 409)

    def trouble(self, reviewer: str, heading: str, message: str, note: str = "", status: int = 400) -> Response:
        """A page that says what did not happen, and why."""
        return self.page("trouble.html", reviewer, status, heading=heading, trouble=message, note=note)

    def _last(self, reviewer: str) -> Saved | None:
        own = self._desk.store.own(reviewer, 1)
        return views.saved(own[0]) if own else None
