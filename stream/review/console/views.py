"""The views of the pages, ready for the templates: texts and figures as they are printed. No HTML, no clock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from tagstream.monitoring.quality import value_words, viewers
from tagstream.monitoring.quality import words as figures
from tagstream.monitoring.quality.value import ValueReport
from tagstream.monitoring.quality.words import QualityTable
from tagstream.monitoring.vocabulary import ReviewReason, meaning_of
from tagstream.stream.contract.answers import OFF_SUBJECT
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.published import ModelDecision, milliseconds
from tagstream.stream.contract.reports import Report
from tagstream.stream.review.console import words
from tagstream.stream.review.live_quality import LiveQuality, left_out
from tagstream.stream.review.store.queue import Queue
from tagstream.stream.review.store.records import (
    Claim,
    Door,
    Given,
    Neighbour,
    QueueFigures,
    ReviewerFigures,
    Twin,
    link_of,
    text_of,
)

# The most characters of a description that are shown at first, and on demand. A worker's model does not read beyond `MOST_CHARACTERS`.
FIRST_CHARACTERS, MOST_CHARACTERS = 900, 16_000
MOST_TITLE_CHARACTERS, MOST_FACT_CHARACTERS = 1_000, 200
# A longer address is not shown as a link, because some browsers do not open it.
MOST_LINK_CHARACTERS = 2_000
DIGITS = "123456789"
OFF_SUBJECT_KEY = "0"
MOST_IN_ORDER = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownReason:
    """The reason why a person is asked. `kind` is a CSS class."""

    name: str
    sentence: str
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """
    One button: the tag that it sends and how it looks.

    Attributes:
        tag: The value that is sent.
        name: The text.
        key: The key that presses it; empty from the tenth label on.
        probability: The model's probability, 0 to 1; None if it is hidden.
        guess: True for the model's own tag.
        stands: True for the tag of the answer that holds.
        apart: True if the tag is not a label of the bundle.
    """

    tag: str
    name: str
    key: str
    probability: float | None = None
    guess: bool = False
    stands: bool = False
    apart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """
    A way to give an item back without an answer: a button, a key and a line in the list of keys.

    Attributes:
        value: The value that is sent as `back`.
        name: The text of the button.
        key: The key that presses it.
        meaning: The action's line in the list of keys; empty for no line.
        offered: Returns True if an item with this door has the action.
        done: Gives the item back; takes the event's id and the claim's token.
    """

    value: str
    name: str
    key: str
    meaning: str = ""
    offered: Callable[[Door], bool]
    done: Callable[[Queue, str, str], None]


ACTIONS = (
    Action(
        value="skip",
        name="Skip",
        key="s",
        meaning="Skip: somebody else gets the item",
        offered=lambda door: door is not Door.CORRECTION,
        done=Queue.skip,
    ),
    # If a correction is left, the item keeps its answer.
    Action(value="leave", name="Leave it so", key="s", offered=lambda door: door is Door.CORRECTION, done=Queue.release),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An item's link: its address, and its text, which begins with the host."""

    address: str
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A reader's report, as the page shows it."""

    by: str
    tag: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """An event like the item. A decided event has a tag and a likeness."""

    event_id: str
    title: str
    tag: str = ""
    likeness: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemView:
    """
    All that the page of an item shows.

    The page leaves `left_out` characters of the text out. `truncated` is true if the model did not read the whole text.
    """

    event_id: str
    token: str
    title: str
    description: str
    rest: str
    left_out: int
    truncated: bool
    source: str | None
    link: Link | None
    created_on: str | None
    reasons: tuple[ShownReason, ...]
    said: str
    choices: tuple[Choice, ...]
    note: str
    earlier: str
    actions: tuple[Action, ...]
    reports: tuple[Reported, ...]
    neighbours: tuple[Near, ...]
    twins: tuple[Near, ...]

    @property
    def rest_characters(self) -> str:
        """The number of characters in `rest`, as text."""
        return f"{len(self.rest):,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderFigures:
    """The figures of the header."""

    waiting: str
    oldest: str
    pace: str
    total: str
    agreement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedStrip:
    """The reviewer's newest answer, and the model's tag."""

    event_id: str
    title: str
    tag: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnAnswer:
    """A row of the reviewer's answers."""

    title: str
    tag: str
    model: str
    note: str
    ago: str
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """
    The live quality of the decisions, measured by people's answers.

    Attributes:
        headline: The one sentence to read.
        advice: A sentence on whether new thresholds are worth the work; empty if nothing was measured.
        left_out: A sentence about the records that the estimates do not use; empty if they use all records.
        worth: A sentence on what the decisions are worth; empty if there are none.
        tables: The tables of `tagstream quality`, then those of `tagstream quality --value`, then viewers' answers; empty if nothing was
            measured.
    """

    headline: str
    advice: str = ""
    left_out: str = ""
    worth: str = ""
    tables: tuple[QualityTable, ...] = ()


def header(queue: QueueFigures, pace: ReviewerFigures, now_ms: int) -> HeaderFigures:
    """
    Return the figures of the header for one reviewer.

    Args:
        queue: The figures of the queue of all reviewers.
        pace: The figures of this reviewer.
        now_ms: The current time, Unix milliseconds.
    """
    return HeaderFigures(
        waiting=f"{queue.length:,}",
        oldest=words.DASH if queue.oldest_ms is None else words.span(now_ms - queue.oldest_ms),
        pace=f"{pace.last_minute}",
        total=f"{pace.total:,}",
        agreement=words.share(pace.agrees, pace.compared),
    )


def saved(given: Given) -> SavedStrip:
    """Return the strip above the next item. It shows the model's tag, which is hidden only until the answer."""
    same = given.model_tag == given.tag
    return SavedStrip(
        event_id=given.event_id,
        title=given.title,
        tag=words.shown_tag(given.tag, OFF_SUBJECT),
        model="The model says the same." if same else f"The model says {given.model_tag}.",
    )


def answers(own: Sequence[Given], now_ms: int) -> list[OwnAnswer]:
    """Return the rows of a reviewer's answers that hold."""
    return [
        OwnAnswer(
            title=given.title,
            tag=words.shown_tag(given.tag, OFF_SUBJECT),
            model=given.model_tag,
            note=given.note or "",
            ago=f"{words.span(now_ms - milliseconds(given.decided_at))} ago",
            event_id=given.event_id,
        )
        for given in own
    ]


def quality(found: LiveQuality | None, worth: ValueReport | None = None, failure: str | None = None) -> Quality:
    """
    Return the view of live quality.

    Args:
        found: The newest estimate, if there is one.
        worth: What its decisions are worth.
        failure: The reason why the last estimate failed; None if it did not fail.
    """
    if found is None:
        return Quality(headline=_headline(None, failure))
    report = found.report
    valued = worth if worth is not None and worth.whole.events else None
    return Quality(
        headline=_headline(found, failure),
        advice="" if report is None else figures.verdict(report),
        left_out=left_out(found),
        worth="" if valued is None else value_words.headline(valued, days=found.days),
        tables=(
            *([] if found.progress is None else [found.progress]),
            *([] if report is None else figures.tables(report)),
            *([] if valued is None else value_words.tables(valued)),
            *viewers.tables(found.viewers),
        ),
    )


def _headline(found: LiveQuality | None, failure: str | None) -> str:
    if failure is not None:
        before = "No estimate was made yet" if found is None else f"What follows was estimated at {timestamp(found.until_ms)}"
        return f"The last estimate failed ({failure}). {before}. Next: see the console's log for quality_not_measured."
    if found is None:
        return "The first estimate is being made. Next: look again in a minute."
    if found.report is None:
        return "No decision of the last 30 days was drawn for people, so nothing can be measured. Next: see that the topic audit is there."
    return figures.headline(found.report, days=found.days)


def item(claim: Claim, neighbours: Sequence[Neighbour], twins: Sequence[Twin], *, note: str | None = None) -> ItemView:
    """
    Return the view of an item that a reviewer holds.

    Args:
        claim: The item, and the reason why it is asked. If its door is blind, the page shows nothing of the decision.
        neighbours: Decided events that are like the item.
        twins: Open items with nearly the same text, which the same answer may settle.
        note: The note that the reviewer has typed already. If it is None, the note of the reviewer's own earlier answer is shown.
    """
    event, decision, blind = claim.item.event, claim.item.decision, claim.door.blind
    description = event.description or ""
    first, rest = _cut(description[:MOST_CHARACTERS])
    created_on = text_of(event.fields, "created_on")
    standing_tag = None if blind or claim.before is None else claim.before.tag
    return ItemView(
        event_id=event.id,
        token=claim.token,
        title=_brief(event.title, MOST_TITLE_CHARACTERS),
        description=first,
        rest=rest,
        left_out=max(0, len(description) - MOST_CHARACTERS),
        truncated=decision.truncated,
        source=event.source and _brief(event.source, MOST_FACT_CHARACTERS),
        link=_link(link_of(event.fields)),
        created_on=created_on and _brief(created_on, MOST_FACT_CHARACTERS),
        reasons=(ShownReason(name=words.BLIND[0], sentence=words.BLIND[1], kind="blind"),)
        if blind
        else _reasons(claim.door, decision),
        said="" if blind else _said(decision),
        choices=_choices(decision, standing_tag, blind=blind),
        note=note if note is not None else _earlier_note(claim),
        earlier="" if blind else _earlier(claim),
        actions=tuple(one for one in ACTIONS if one.offered(claim.door)),
        reports=() if blind else tuple(_reported(one) for one in claim.reports),
        neighbours=tuple(
            Near(
                event_id=one.event_id,
                title=one.title,
                tag=words.shown_tag(one.tag, OFF_SUBJECT),
                likeness=f"{100 * one.likeness:.0f} % alike",
            )
            for one in neighbours
        ),
        twins=tuple(Near(event_id=one.event_id, title=one.title) for one in twins),
    )


def _choices(decision: ModelDecision, standing_tag: str | None, *, blind: bool) -> tuple[Choice, ...]:
    """
    Return the choices in the bundle's order, so that a label keeps its key from item to item.

    More than `MOST_IN_ORDER` labels are sorted by probability, so that the nine labels with keys are the likely ones. A blind item keeps
    the bundle's order, because the order would reveal the model's tag.
    """
    offered = list(decision.probabilities.items())
    if len(offered) > MOST_IN_ORDER and not blind:
        offered.sort(key=lambda one: -one[1])
    labels = [
        Choice(
            tag=label,
            name=label,
            key=DIGITS[place] if place < len(DIGITS) else "",
            probability=None if blind else probability,
            guess=not blind and label == decision.tag,
            stands=label == standing_tag,
        )
        for place, (label, probability) in enumerate(offered)
    ]
    off = Choice(
        tag=OFF_SUBJECT, name=words.OFF_SUBJECT_NAME, key=OFF_SUBJECT_KEY, stands=standing_tag == OFF_SUBJECT, apart=True
    )
    return (*labels, off)


def _reasons(door: Door, decision: ModelDecision) -> tuple[ShownReason, ...]:
    known = frozenset(ReviewReason)
    # A later version may have other reasons.
    found = [
        _meaning(ReviewReason(reason)) if reason in known else (reason, "")
        for reason in decision.reasons
        if reason != "text_flags"
    ]
    if door is Door.USER_REPORT:
        found.insert(0, _meaning(ReviewReason.USER_REPORT))
    if decision.text_flags:
        found.append(("Hidden characters", words.hidden_characters(decision.text_flags)))
    return tuple(ShownReason(name=name, sentence=sentence) for name, sentence in dict(found).items())


def _meaning(reason: ReviewReason) -> tuple[str, str]:
    meaning = meaning_of(reason)
    return meaning.name, meaning.sentence


def _said(decision: ModelDecision) -> str:
    return words.said(
        tag=decision.tag,
        confidence=decision.confidence,
        threshold=decision.threshold,
        by_rules=decision.decider == "rules",
    )


def _earlier(claim: Claim) -> str:
    given = claim.before
    if given is None:
        return ""
    by = "You" if given.reviewer == claim.reviewer else given.reviewer
    return f"{by} answered {words.shown_tag(given.tag, OFF_SUBJECT)}. That answer stands until you give another one."


def _earlier_note(claim: Claim) -> str:
    given = claim.before
    return given.note or "" if given is not None and given.reviewer == claim.reviewer else ""


def _reported(report: Report) -> Reported:
    tag = report.suggested_tag
    return Reported(
        by=report.reporter or ("A viewer" if report.is_vote else "A reader"),
        tag=words.shown_tag(tag, OFF_SUBJECT) if tag else "",
        note=report.note or "",
    )


def _link(address: str | None) -> Link | None:
    """Return a link for http and https only: another scheme could run a script or open a program."""
    if address is None or len(address) > MOST_LINK_CHARACTERS:
        return None
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    return Link(address=address, shown=_brief(f"{parts.hostname}{parts.path.rstrip('/')}", MOST_FACT_CHARACTERS))


def _brief(text: str, most: int) -> str:
    """Return the text, or its first `most` characters and the number of characters that follow."""
    return text if len(text) <= most else f"{text[:most]}\N{HORIZONTAL ELLIPSIS} ({len(text) - most:,} more characters)"


def _cut(text: str) -> tuple[str, str]:
    """Return the first part, up to the end of a word, and the rest."""
    if len(text) <= FIRST_CHARACTERS:
        return text, ""
    end = max(text.rfind(" ", 0, FIRST_CHARACTERS), text.rfind("\n", 0, FIRST_CHARACTERS))
    end = end if end > FIRST_CHARACTERS // 2 else FIRST_CHARACTERS
    return text[:end], text[end:].lstrip()
