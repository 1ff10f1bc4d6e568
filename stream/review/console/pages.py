"""The pages of the console: a template of `page/`, filled with a view of `views.py` of the same name."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import jinja2
from fastapi.responses import HTMLResponse, Response

from tagstream.stream.contract.field_types import MAX_NOTE_CHARACTERS
from tagstream.stream.review.answer_saver import AnswerSaver
from tagstream.stream.review.console import views, words
from tagstream.stream.review.console.access import Access, Remembered
from tagstream.stream.review.console.guidelines import NONE, Guidelines
from tagstream.stream.review.console.quality_thread import QualityThread
from tagstream.stream.review.store.records import Claim, Lapsed, unix_ms
from tagstream.stream.review.store.store import Store

TEMPLATES, ASSETS = (Path(__file__).parent / name for name in ("page", "assets"))
MEDIA_TYPES = {"console.css": "text/css; charset=utf-8", "console.js": "text/javascript; charset=utf-8"}
FOR_A_YEAR = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """The addresses of style and script: each has a digest, so that a browser may keep the file for ever."""

    css: str
    js: str


class Templates:
    """Renders templates and serves the assets, all of them read once."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"pieces": words.pieces, "plain": words.plain}
        self._environment.globals["actions"] = views.ACTIONS
        self._files = {name: (ASSETS / name).read_bytes() for name in MEDIA_TYPES}

    @cached_property
    def assets(self) -> Assets:
        """Where the assets are."""
        css, js = (f"/assets/{_digest(self._files[name])}/{name}" for name in MEDIA_TYPES)
        return Assets(css=css, js=js)

    def asset(self, digest: str, name: str) -> Response:
        """One of the assets; 404 for another name or another digest."""
        content = self._files.get(name)
        if content is None or _digest(content) != digest:
            return Response(status_code=404)
        return Response(content, media_type=MEDIA_TYPES[name], headers={"Cache-Control": FOR_A_YEAR})

    def render(self, template: str, status: int = 200, **values: object) -> HTMLResponse:
        """
        A page.

        Args:
            template: The file's name in `page/`.
            status: Of HTTP.
            values: All that the template names.
        """
        page = self._environment.get_template(template).render(assets=self.assets, **values)
        return HTMLResponse(page, status)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewConsole:
    """
    The parts of a console, and the pages that it shows of them, each with the header's figures.

    Attributes:
        store: The queue, and the samples of estimates.
        saving: Where answers and reports go.
        access: Names the person behind a request.
        measuring: Live quality.
        filled: Whether the store knows all answers that were given before the start; until then no item is shown.
        not_ready: Why the console is not ready, as a sentence; None while it is.
        templates: Of the pages.
        guidelines: Of the labels, for beside the answers.
        now_ms: Unix milliseconds.
    """

    store: Store
    saving: AnswerSaver
    access: Access
    measuring: QualityThread
    filled: Callable[[], bool]
    not_ready: Callable[[], str | None]
    templates: Templates = field(default_factory=Templates)
    guidelines: Guidelines = NONE
    now_ms: Callable[[], int] = unix_ms

    @property
    def can_rename(self) -> bool:
        """Whether reviewers say themselves who they are."""
        return isinstance(self.access, Remembered)

    def page(self, template: str, reviewer: str, status: int = 200, **values: object) -> Response:
        """
        Any page of a reviewer, with the figures of the header.

        Args:
            template: The file's name in `page/`.
            reviewer: Whose figures are in the header.
            status: Of HTTP.
            values: All that the template names beside the header.
        """
        queue = self.store.queue
        standing = views.header(queue.figures(), queue.pace(reviewer), self.now_ms())
        return self.templates.render(
            template, status, reviewer=reviewer, can_rename=self.can_rename, standing=standing, **values
        )

    def item(self, claim: Claim, *, note: str | None = None, trouble: str = "", status: int = 200) -> Response:
        """
        The page of an item in a reviewer's hands.

        Args:
            claim: The item and its reviewer.
            note: The note that was typed already, if any.
            trouble: A sentence on an answer that is not saved; empty where there was none.
            status: Of HTTP.
        """
        queue, event_id = self.store.queue, claim.item.event.id
        shown = views.item(claim, queue.neighbours(event_id), queue.duplicates(event_id), note=note)
        # The strip of the last answer would say what was decided about the very item that is corrected; the page says it itself.
        last = None if claim.version > 1 else self._last(claim.reviewer)
        return self.page(
            "item.html",
            claim.reviewer,
            status,
            item=shown,
            saved=last,
            trouble=trouble,
            guidelines=self.guidelines.about(claim.item.decision.probabilities),
            guidelines_opened=self.guidelines.opened,
            max_note=MAX_NOTE_CHARACTERS,
        )

    def empty(self, reviewer: str) -> Response:
        """The page where no item is left for this reviewer."""
        queue = self.store.queue.figures()
        left = f"{queue.length} wait for others: they hold them, or you skipped or answered them." if queue.length else ""
        why = left or "Every item of the queue has an answer. This page looks again by itself."
        return self.page("empty.html", reviewer, why=why, saved=self._last(reviewer))

    def lapsed(self, reviewer: str, lapsed: Lapsed, note: str) -> Response:
        """
        The page on an item that is another's now.

        Args:
            reviewer: To whom it is shown.
            lapsed: Why the answer is not saved.
            note: The note that was typed, to be copied.
        """
        return self.trouble(reviewer, "Your answer is not saved", lapsed.message, note, 409)

    def trouble(self, reviewer: str, heading: str, message: str, note: str = "", status: int = 400) -> Response:
        """
        A page on something that did not happen.

        Args:
            reviewer: To whom it is shown.
            heading: Says in a few words what did not happen.
            message: Says why, and the next step.
            note: The note that was typed, to be copied.
            status: Of HTTP.
        """
        return self.page("trouble.html", reviewer, status, heading=heading, trouble=message, note=note)

    def _last(self, reviewer: str) -> views.SavedStrip | None:
        own = self.store.queue.own(reviewer, 1)
        return views.saved(own[0]) if own else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
