"""The views of the pages, ready for their templates: texts and figures as they are printed. No HTML, no clock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from tagstream.monitoring.quality import words as figures
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

# A reviewer reads about this much before the decision; the rest opens on demand. A worker's model reads none of what is left out.
FIRST_CHARACTERS, MOST_CHARACTERS = 900, 16_000
MOST_TITLE_CHARACTERS, MOST_FACT_CHARACTERS = 1_000, 200
# A longer address is no link: browsers do not agree on whether they open it.
MOST_LINK_CHARACTERS = 2_000
DIGITS = "123456789"
OFF_SUBJECT_KEY = "0"
MOST_IN_ORDER = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownReason:
    """Why a person is asked; `kind` is a class of the style."""

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
        probability: The model's; None where it is hidden.
        guess: The model's own tag.
        stands: The answer that stands.
        apart: Not a label of the bundle.
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
        meaning: Its line in the list of keys; empty for one without a line.
        offered: Whether an item with this door has it.
        done: Gives the item back, by the event's id and the claim's token.
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
    # A correction that is not given goes back with its answer.
    Action(value="leave", name="Leave it so", key="s", offered=lambda door: door is Door.CORRECTION, done=Queue.release),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Where an item's link leads, and its text: the host first."""

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
    """An event that is like the item; with a tag and a likeness if people have decided it."""

    event_id: str
    title: str
    tag: str = ""
    likeness: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemView:
    """All that the page of an item shows; `left_out` characters of its text are not on the page, and not read by the model if it is `truncated`."""

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
        """How much more there is to read."""
        return f"{len(self.rest):,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderFigures:
    """The header's figures."""

    waiting: str
    oldest: str
    pace: str
    total: str
    agreement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedStrip:
    """The reviewer's newest answer, and what the model had said."""

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
    How right the decisions are, as people find.

    Attributes:
        headline: The one sentence to read.
        advice: Whether new thresholds are worth doing; empty where nothing was measured.
        left_out: The records that the estimates do not use; empty where they use all.
        tables: Those of `tagstream quality`; none where nothing was measured.
    """

    headline: str
    advice: str = ""
    left_out: str = ""
    tables: tuple[QualityTable, ...] = ()


def header(queue: QueueFigures, pace: ReviewerFigures, now_ms: int) -> HeaderFigures:
    """
    The header of one reviewer.

    Args:
        queue: Of all reviewers.
        pace: Of this one.
        now_ms: Unix milliseconds.
    """
    return HeaderFigures(
        waiting=f"{queue.length:,}",
        oldest=words.DASH if queue.oldest_ms is None else words.span(now_ms - queue.oldest_ms),
        pace=f"{pace.last_minute}",
        total=f"{pace.total:,}",
        agreement=words.share(pace.agrees, pace.compared),
    )


def saved(given: Given) -> SavedStrip:
    """The strip above the next item. After the answer the model's tag is no secret any more."""
    same = given.model_tag == given.tag
    return SavedStrip(
        event_id=given.event_id,
        title=given.title,
        tag=words.shown_tag(given.tag, OFF_SUBJECT),
        model="The model says the same." if same else f"The model says {given.model_tag}.",
    )


def answers(own: Sequence[Given], now_ms: int) -> list[OwnAnswer]:
    """A reviewer's answers that stand."""
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


def quality(found: LiveQuality | None, failure: str | None = None) -> Quality:
    """
    The page of live quality.

    Args:
        found: The newest estimate, if there is one.
        failure: Why the last look made none.
    """
    if found is None:
        return Quality(headline=_headline(None, failure))
    report = found.report
    return Quality(
        headline=_headline(found, failure),
        advice="" if report is None else figures.verdict(report),
        left_out=left_out(found),
        tables=(*([] if found.progress is None else [found.progress]), *([] if report is None else figures.tables(report))),
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
    The page of an item in a reviewer's hands.

    Args:
        claim: The item, and why it is asked. Where its door is blind, nothing of the decision is on the page.
        neighbours: Decided events that are like it.
        twins: Open items with nearly the same text, which the same answer may settle.
        note: The note that the reviewer has typed already; else that of the answer that stands is shown.
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
    In the bundle's order, so that a label keeps its key from item to item.

    More labels than a person has keys in mind for are in the order of their probability, so that the first nine, which have keys, are
    the likely ones; not on a blind item, whose order would tell what the model said.
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
    # A later version may have others.
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
        by=report.reporter or "A reader", tag=words.shown_tag(tag, OFF_SUBJECT) if tag else "", note=report.note or ""
    )


def _link(address: str | None) -> Link | None:
    """Only http and https: another scheme could run a script or open a program."""
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
    """The text, or as much of it as may be shown and how much more there is."""
    return text if len(text) <= most else f"{text[:most]}\N{HORIZONTAL ELLIPSIS} ({len(text) - most:,} more characters)"


def _cut(text: str) -> tuple[str, str]:
    """The first part, up to the end of a word, and the rest."""
    if len(text) <= FIRST_CHARACTERS:
        return text, ""
    end = max(text.rfind(" ", 0, FIRST_CHARACTERS), text.rfind("\n", 0, FIRST_CHARACTERS))
    end = end if end > FIRST_CHARACTERS // 2 else FIRST_CHARACTERS
    return text[:end], text[end:].lstrip()
