"""Two decisions on each of many events, compared and counted: which tag became which, which door, how many go to people, and who was right.

Pure: no broker, no file, no clock. A comparison is a value that JSON can keep, so that a run can be continued.
"""

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import msgspec

from tagstream.model_export.bundle.text import compose, is_described
from tagstream.model_export.data.row import Row
from tagstream.model_export.measure.slices import MOST_VALUES, TEXT_SLICES
from tagstream.monitoring.vocabulary import MAX_SOURCE_CHARACTERS
from tagstream.stream.contract.event import ContentEvent
from tagstream.stream.contract.outcome import Decision, NeedsReview, Outcome, Tagged

SOURCE = "source"
# Rows that a summary shows; all others are in the file of rows.
MOST_SHOWN = 20
OTHER_SOURCES = "(other)"
FIGURES_BYTES = 16

Door = Literal["tagged", "review"]
Counts = dict[str, dict[str, int]]
"""How often one value became another: by the old one, then by the new one."""


class Decided(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    One decision, without its event.

    Attributes:
        tag: Its tag.
        confidence: That of the tag.
        destination: The topic of the outcome.
        digest: The bundle's.
        figures: A hash of all that the model and the thresholds made of the text: two decisions with the same one are the same.
    """

    tag: str
    confidence: float
    destination: Door
    digest: str
    figures: bytes


class SliceCount(msgspec.Struct, kw_only=True):
    """Events of one slice: compared, with another tag, with another door, and those for people by either end."""

    compared: int = 0
    discordant: int = 0
    moved: int = 0
    old_review: int = 0
    new_review: int = 0

    def add(self, old: Decided, new: Decided) -> None:
        """Count an event."""
        self.compared += 1
        self.discordant += old.tag != new.tag
        self.moved += old.destination != new.destination
        self.old_review += old.destination == "review"
        self.new_review += new.destination == "review"


class LabelCount(msgspec.Struct, kw_only=True):
    """Events that either end calls by one label, and those of them for people."""

    old: int = 0
    old_review: int = 0
    new: int = 0
    new_review: int = 0


class DifferingRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    An event on which the ends differ in the tag or in the door.

    Attributes:
        id: The event's.
        topic: Where it lies.
        partition: Its partition there.
        offset: Its offset there.
        old: The decision of the older end; `figures` is left out.
        new: That of the newer end.
        answer: The tag that a person gave; None where nobody was asked.
        title: Only where texts were asked for.
        description: Likewise.
    """

    id: str
    topic: str
    partition: int
    offset: int
    old: dict[str, str | float]
    new: dict[str, str | float]
    answer: str | None = None
    title: str | None = None
    description: str | None = None


class Comparison(msgspec.Struct, kw_only=True):
    """
    All that is counted of one run.

    Attributes:
        events: Records that were read.
        drawn: Of these, the ones that belong to the sample; dead letters that have no id are among them.
        dead_letters: Of the drawn ones, those that either end refuses: they are not compared.
        refused_by_new: Of these, the ones that the new end alone refuses.
        refused_by_old: Of these, the ones that the old end alone refuses.
        unrecorded: Drawn events of which the old end knows no decision.
        compared: Events with a decision of both ends.
        same: Of these, the ones whose decisions are equal in every figure.
        discordant: With another tag.
        moved: With another door.
        tags: The old tag, and what became of it.
        doors: The old door, and what became of it.
        labels: By tag.
        slices: By the name of a group of slices, and of the slice.
        answered: Discordant events that a person has answered.
        new_right: Of these, the ones to which the person gave the new tag.
        old_right: Of these, the ones to which the person gave the old tag.
        old_digests: How many compared decisions of the old end each bundle made.
        shown: The first rows that differ in tag or door.
    """

    events: int = 0
    drawn: int = 0
    dead_letters: int = 0
    refused_by_new: int = 0
    refused_by_old: int = 0
    unrecorded: int = 0
    compared: int = 0
    same: int = 0
    discordant: int = 0
    moved: int = 0
    tags: Counts = {}
    doors: Counts = {}
    labels: dict[str, LabelCount] = {}
    slices: dict[str, dict[str, SliceCount]] = {}
    answered: int = 0
    new_right: int = 0
    old_right: int = 0
    old_digests: dict[str, int] = {}
    shown: list[DifferingRow] = []

    @property
    def agreement(self) -> float | None:
        """The share of compared events with the same tag; None without any."""
        return 1 - self.discordant / self.compared if self.compared else None

    @property
    def neither_right(self) -> int:
        """Answered discordant events to which the person gave a third tag."""
        return self.answered - self.new_right - self.old_right

    def add(
        self,
        event: ContentEvent,
        old: Decided,
        new: Decided,
        *,
        answer: Callable[[str], str | None] = lambda _: None,
        with_text: bool = False,
    ) -> DifferingRow | None:
        """
        Count an event on which both ends have decided.

        Args:
            event: The event.
            old: Of the older end.
            new: Of the newer end.
            answer: The tag that a person gave to an event of this id.
            with_text: Put title and description into the row.

        Returns:
            The row, where tag or door differ.
        """
        self.compared += 1
        self.same += old.figures == new.figures
        self.discordant += old.tag != new.tag
        self.moved += old.destination != new.destination
        _count(self.tags, old.tag, new.tag)
        _count(self.doors, old.destination, new.destination)
        self.old_digests[old.digest] = self.old_digests.get(old.digest, 0) + 1
        before = self.labels.setdefault(old.tag, LabelCount())
        before.old += 1
        before.old_review += old.destination == "review"
        after = self.labels.setdefault(new.tag, LabelCount())
        after.new += 1
        after.new_review += new.destination == "review"
        for group, name in self._slices_of(event):
            self.slices.setdefault(group, {}).setdefault(name, SliceCount()).add(old, new)
        if old.tag == new.tag and old.destination == new.destination:
            return None
        said = answer(event.id)
        if old.tag != new.tag and said is not None:
            self.answered += 1
            self.new_right += said == new.tag
            self.old_right += said == old.tag
        row = _row(event, old, new, said, with_text=with_text)
        if len(self.shown) < MOST_SHOWN:
            self.shown.append(row)
        return row

    def refuse(self, *, by_old: bool, by_new: bool) -> None:
        """Count an event that is a dead letter for at least one end."""
        self.dead_letters += 1
        self.refused_by_new += by_new and not by_old
        self.refused_by_old += by_old and not by_new

    def as_json(self) -> dict[str, object]:
        """The counts and what follows from them, as plain values."""
        counted: dict[str, object] = msgspec.to_builtins(self)
        return {**counted, "agreement": self.agreement, "neither_right": self.neither_right}

    def _slices_of(self, event: ContentEvent) -> Iterator[tuple[str, str]]:
        known = self.slices.get(SOURCE, {})
        for group, name in slices_of(event):
            # Names of sources come from events: the first ones are told apart.
            told = group != SOURCE or name in known or len(known) < MOST_VALUES
            yield group, name if told else OTHER_SOURCES


def slices_of(event: ContentEvent) -> list[tuple[str, str]]:
    """The slices of an event, each by its group and its name: the kinds of its text, and its source if it has one."""
    source = (event.source or "").strip()[:MAX_SOURCE_CHARACTERS]
    row = Row(
        text=compose(event.title, event.description),
        tag="",
        source=source,
        topic="",
        described=is_described(event.description),
    )
    return [(kind.group, kind.name) for kind in TEXT_SLICES if kind.holds(row)] + ([(SOURCE, source)] if source else [])


def decided(decision: Decision, destination: Door) -> Decided:
    """A decision as it is compared."""
    said = (
        decision.tag,
        decision.tags,
        decision.confidence,
        sorted(decision.probabilities.items()),
        decision.threshold,
        decision.truncated,
        decision.reasons,
        decision.text_flags,
    )
    figures = hashlib.blake2b(msgspec.json.encode(said), digest_size=FIGURES_BYTES).digest()
    return Decided(
        # A few names in a million decisions.
        tag=sys.intern(decision.tag),
        confidence=decision.confidence,
        destination=destination,
        digest=sys.intern(decision.model.digest),
        figures=figures,
    )


def decided_of(outcome: Outcome) -> Decided | None:
    """The decision of an outcome; None for a dead letter."""
    match outcome:
        case Tagged():
            return decided(outcome.decision, "tagged")
        case NeedsReview():
            return decided(outcome.decision, "review")
        case _:
            return None


def _row(event: ContentEvent, old: Decided, new: Decided, answer: str | None, *, with_text: bool) -> DifferingRow:
    return DifferingRow(
        id=event.id,
        topic=event.record.topic,
        partition=event.record.partition,
        offset=event.record.offset,
        old=_side(old),
        new=_side(new),
        answer=answer,
        title=event.title if with_text else None,
        description=event.description if with_text else None,
    )


def _side(found: Decided) -> dict[str, str | float]:
    return {
        "tag": found.tag,
        "confidence": found.confidence,
        "destination": found.destination,
        "digest": found.digest,
    }


def _count(counts: Counts, old: str, new: str) -> None:
    row = counts.setdefault(old, {})
    row[new] = row.get(new, 0) + 1


def review_share(counts: Mapping[str, LabelCount], *, new: bool) -> float | None:
    """
    The share of all compared events that goes to people by one end; None without any.

    >>> review_share({"a": LabelCount(old=4, old_review=1), "b": LabelCount(old=4, old_review=1)}, new=False)
    0.25
    """
    events = sum(count.new if new else count.old for count in counts.values())
    asked = sum(count.new_review if new else count.old_review for count in counts.values())
    return asked / events if events else None
