"""The pages of the console. Each page is a template in `page/`, filled with the view of the same name in `views.py`."""

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
    """The addresses of style and script. Each address has a digest, so that a browser may keep the file for ever."""

    css: str
    js: str


class Templates:
    """Renders templates and serves the assets. The assets are read once."""

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
        """The addresses of the assets."""
        css, js = (f"/assets/{_digest(self._files[name])}/{name}" for name in MEDIA_TYPES)
        return Assets(css=css, js=js)

    def asset(self, digest: str, name: str) -> Response:
        """Return an asset; 404 for an unknown name or digest."""
        content = self._files.get(name)
        if content is None or _digest(content) != digest:
            return Response(status_code=404)
        return Response(content, media_type=MEDIA_TYPES[name], headers={"Cache-Control": FOR_A_YEAR})

    def render(self, template: str, status: int = 200, **values: object) -> HTMLResponse:
        """
        Return a page.

        Args:
            template: The file's name in `page/`.
            status: The HTTP status.
            values: All variables of the template.
        """
        page = self._environment.get_template(template).render(assets=self.assets, **values)
        return HTMLResponse(page, status)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewConsole:
    """
    The parts of a console, and its pages. Each page has the header's figures.

    Attributes:
        store: The queue, and the samples of estimates.
        saving: Saves answers and reports.
        access: Names the person behind a request.
        measuring: Estimates live quality.
        filled: Returns True once the store knows all answers from before the start. Until then no item is shown.
        not_ready: Returns a sentence about why the console is not ready; None while it is ready.
        templates: The templates of the pages.
        guidelines: The guidelines of the labels, shown beside the answers.
        now_ms: Returns Unix milliseconds.
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
        """True if reviewers enter their names themselves."""
        return isinstance(self.access, Remembered)

    def page(self, template: str, reviewer: str, status: int = 200, **values: object) -> Response:
        """
        Return a page of a reviewer, with the figures of the header.

        Args:
            template: The file's name in `page/`.
            reviewer: The reviewer whose figures are in the header.
            status: The HTTP status.
            values: All variables of the template except the header's.
        """
        queue = self.store.queue
        standing = views.header(queue.figures(), queue.pace(reviewer), self.now_ms())
        return self.templates.render(
            template, status, reviewer=reviewer, can_rename=self.can_rename, standing=standing, **values
        )

    def item(self, claim: Claim, *, note: str | None = None, trouble: str = "", status: int = 200) -> Response:
        """
        Return the page of an item that a reviewer holds.

        Args:
            claim: The item and its reviewer.
            note: The note that was typed already, if any.
            trouble: A sentence about an answer that was not saved; empty if there was no such answer.
            status: The HTTP status.
        """
        queue, event_id = self.store.queue, claim.item.event.id
        shown = views.item(claim, queue.neighbours(event_id), queue.duplicates(event_id), note=note)
        # In a correction the strip of the last answer is left out: the page itself shows the answer that is corrected.
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
        """Return the page that is shown when no item is left for this reviewer."""
        queue = self.store.queue.figures()
        left = f"{queue.length} wait for others: they hold them, or you skipped or answered them." if queue.length else ""
        why = left or "Every item of the queue has an answer. This page looks again by itself."
        return self.page("empty.html", reviewer, why=why, saved=self._last(reviewer))

    def lapsed(self, reviewer: str, lapsed: Lapsed, note: str) -> Response:
        """
        Return the page about an item that the reviewer does not hold any more.

        Args:
            reviewer: The reviewer who sees the page.
            lapsed: The reason why the answer is not saved.
            note: The note that was typed, to be copied.
        """
        return self.trouble(reviewer, "Your answer is not saved", lapsed.message, note, 409)

    def trouble(self, reviewer: str, heading: str, message: str, note: str = "", status: int = 400) -> Response:
        """
        Return a page about a request that failed.

        Args:
            reviewer: The reviewer who sees the page.
            heading: The failure in a few words.
            message: The reason and the next step.
            note: The note that was typed, to be copied.
            status: The HTTP status.
        """
        return self.page("trouble.html", reviewer, status, heading=heading, trouble=message, note=note)

    def _last(self, reviewer: str) -> views.SavedStrip | None:
        own = self.store.queue.own(reviewer, 1)
        return views.saved(own[0]) if own else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
