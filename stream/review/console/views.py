"""The figures and texts of a page, made from the store's records: no HTML, no clock."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlsplit

import msgspec

from stream.contract.answers import OFF_SUBJECT
from stream.contract.parsing.typed import milliseconds
from stream.review.console import words
from stream.review.console.shapes import Choice, ItemView, Link, Near, OwnAnswer, Reason, Reported, Saved, Standing
from stream.review.store.facts import Claim, Complaint, Door, Given, Item, Neighbour, Pace, Queue, Twin

# A reviewer reads about this much before the decision; the rest opens on demand. The model reads none of what is left out.
FIRST_CHARACTERS, MOST_CHARACTERS = 900, 16_000
MOST_TITLE_CHARACTERS, MOST_FACT_CHARACTERS = 1_000, 200
# A longer address is no link: browsers do not agree on whether they open it.
MOST_LINK_CHARACTERS = 2_000
DIGITS = "123456789"
OFF_SUBJECT_KEY = "0"
MOST_IN_ORDER = 12


class _Before(msgspec.Struct, frozen=True):
    """The fields of a decision that a page speaks of; the others are ignored."""

    decider: str = "model"
    threshold: float = 1.0
    text_flags: tuple[str, ...] = ()


def standing(queue: Queue, pace: Pace, now_ms: int) -> Standing:
    """The header of one reviewer."""
    return Standing(
        waiting=f"{queue.length:,}",
        oldest=words.DASH if queue.oldest_ms is None else words.span(now_ms - queue.oldest_ms),
        pace=f"{pace.last_minute}",
        total=f"{pace.total:,}",
        agreement=words.share(pace.agrees, pace.compared),
    )


def saved(given: Given) -> Saved:
    """The strip above the next item. After the answer the model's tag is no secret any more."""
    same = given.model_tag == given.tag
    return Saved(
        event_id=given.event_id,
        title=given.title,
        tag=words.shown_tag(given.tag, OFF_SUBJECT),
        model="The model says the same." if same else f"The model says {given.model_tag}.",
        address=again(given.event_id),
    )


def own_answer(given: Given, now_ms: int) -> OwnAnswer:
    """One of the answers that stand."""
    return OwnAnswer(
        title=given.title,
        tag=words.shown_tag(given.tag, OFF_SUBJECT),
        model=given.model_tag,
        note=given.note or "",
        ago=f"{words.span(now_ms - milliseconds(given.decided_at))} ago",
        address=again(given.event_id),
    )


def again(event_id: str) -> str:
    """The address of the page that corrects an answer."""
    return f"/again?id={quote(event_id, safe='')}"


def item(claim: Claim, neighbours: Sequence[Neighbour], twins: Sequence[Twin], *, note: str | None = None) -> ItemView:
    """
    The page of an item in a reviewer's hands.

    Args:
        claim: The item, and why it is asked. Where its door is blind, nothing of the decision is on the page.
        neighbours: Decided events that are like it.
        twins: Open items with nearly the same text, which the same answer may settle.
        note: What the reviewer has typed already; otherwise the note of the answer that stands.
    """
    asked, blind = claim.item, claim.door.blind
    before = msgspec.json.decode(asked.before, type=_Before)
    description = asked.description or ""
    first, rest = _cut(description[:MOST_CHARACTERS])
    created_on = _text(asked.fields, "created_on")
    standing_tag = None if blind or claim.before is None else claim.before.tag
    return ItemView(
        event_id=asked.event_id,
        token=claim.token,
        title=_brief(asked.title, MOST_TITLE_CHARACTERS),
        description=first,
        rest=rest,
        left_out=max(0, len(description) - MOST_CHARACTERS),
        source=asked.source and _brief(asked.source, MOST_FACT_CHARACTERS),
        link=_link(asked.link),
        created_on=created_on and _brief(created_on, MOST_FACT_CHARACTERS),
        reasons=(Reason(name=words.BLIND[0], sentence=words.BLIND[1], kind="blind"),) if blind else _reasons(claim, before),
        said="" if blind else _said(asked, before),
        choices=_choices(asked, standing_tag, blind=blind),
        note=note if note is not None else _earlier_note(claim),
        earlier="" if blind else _earlier(claim),
        may_skip=claim.door is not Door.CORRECTION,
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


def _choices(asked: Item, standing_tag: str | None, *, blind: bool) -> tuple[Choice, ...]:
    """
    In the bundle's order, so that a label keeps its key from item to item.

    More labels than a person has keys in mind for are in the order of their probability, so that the first nine, which have keys, are
    the likely ones; not on a blind item, whose order would tell what the model said.
    """
    offered = list(asked.probabilities.items())
    if len(offered) > MOST_IN_ORDER and not blind:
        offered.sort(key=lambda one: -one[1])
    labels = [
        Choice(
            tag=label,
            name=label,
            key=DIGITS[place] if place < len(DIGITS) else "",
            probability=None if blind else probability,
            guess=not blind and label == asked.model_tag,
            stands=label == standing_tag,
        )
        for place, (label, probability) in enumerate(offered)
    ]
    off = Choice(
        tag=OFF_SUBJECT, name=words.OFF_SUBJECT_NAME, key=OFF_SUBJECT_KEY, stands=standing_tag == OFF_SUBJECT, apart=True
    )
    return (*labels, off)


def _reasons(claim: Claim, before: _Before) -> tuple[Reason, ...]:
    found = [words.REASONS.get(reason, (reason, "")) for reason in claim.item.reasons if reason != "text_flags"]
    if claim.door is Door.USER_REPORT:
        found.insert(0, words.REASONS[Door.USER_REPORT])
    if before.text_flags:
        found.append(("Hidden characters", words.hidden_characters(before.text_flags)))
    return tuple(Reason(name=name, sentence=sentence) for name, sentence in dict(found).items())


def _said(asked: Item, before: _Before) -> str:
    return words.said(
        tag=asked.model_tag, confidence=asked.confidence, threshold=before.threshold, by_rules=before.decider == "rules"
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


def _reported(complaint: Complaint) -> Reported:
    tag = complaint.suggested_tag
    return Reported(
        by=complaint.reporter or "A reader", tag=words.shown_tag(tag, OFF_SUBJECT) if tag else "", note=complaint.note or ""
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


def _text(fields: bytes, name: str) -> str | None:
    found: Mapping[str, object] = msgspec.json.decode(fields, type=dict[str, object])
    value = found.get(name)
    return value if isinstance(value, str) and value else None
