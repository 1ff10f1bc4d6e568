"""
Compare an old and a new bundle (the two ends) on the same events or rows: count changed tags, changed doors, reviews and right tags.

The code is pure: it uses no model, broker, file or clock. `rollout shadow` compares events of the stream, and `model evaluate --against`
compares labelled rows. The verdict on a challenger uses `SliceCount`. A comparison can be stored as JSON, so a run can be continued.
"""

import hashlib
from collections.abc import Iterable
from typing import Literal

import msgspec

from tagstream.model_export.measure.slices import MOST_VALUES

SOURCE = "source"
# The most rows in a summary. The file of rows has all of them.
MOST_SHOWN = 20
OTHER_SOURCES = "(other)"
FIGURES_BYTES = 16

Door = Literal["tagged", "review"]
Counts = dict[str, dict[str, int]]
"""The number of changes from an old value to a new value: by the old value, then by the new value."""


class RowDecision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    The decision of one bundle about an event or a row.

    Attributes:
        tag: The predicted tag.
        confidence: The confidence of the tag.
        destination: The topic of the decision (the door).
        figures: The hash by `figures_of`. Two decisions with the same hash are the same.
        digest: The digest of the bundle; empty if one bundle made all decisions of this end.
    """

    tag: str
    confidence: float
    destination: Door
    figures: bytes
    digest: str = ""

    def differs_from(self, other: "RowDecision") -> bool:
        """Return True if the tags or the doors differ."""
        return self.tag != other.tag or self.destination != other.destination


def figures_of(*said: object) -> bytes:
    """Return a hash of everything that the model and the thresholds said about a text."""
    return hashlib.blake2b(msgspec.json.encode(said), digest_size=FIGURES_BYTES).digest()


class SliceCount(msgspec.Struct, kw_only=True):
    """
    The counts of events in one slice, or of all events.

    Attributes:
        compared: The compared events.
        discordant: The events with different tags.
        moved: The events with different doors.
        old_review: The events that the old end sends to people.
        new_review: The events that the new end sends to people.
    """

    compared: int = 0
    discordant: int = 0
    moved: int = 0
    old_review: int = 0
    new_review: int = 0

    def count(self, *, discordant: bool, old_review: bool, new_review: bool) -> None:
        """
        Count an event.

        Args:
            discordant: The tags differ.
            old_review: The old end sends the event to people.
            new_review: The new end sends the event to people.
        """
        self.compared += 1
        self.discordant += discordant
        self.moved += old_review != new_review
        self.old_review += old_review
        self.new_review += new_review

    def share(self, events: int) -> float | None:
        """Return `events` as a share of the compared events. None if there are no compared events."""
        return events / self.compared if self.compared else None

    @property
    def agreement(self) -> float | None:
        """The share of compared events with the same tag, 0 to 1. None if there are no compared events."""
        return self.share(self.compared - self.discordant)

    @property
    def more_review(self) -> float:
        """The share of events that the new end sends to people less the old end's share, -1 to 1. 0 if there are no compared events."""
        return self.share(self.new_review - self.old_review) or 0.0


class LabelCount(msgspec.Struct, kw_only=True):
    """
    The counts of events with one label.

    Attributes:
        old: The events to which the old end gives the label.
        old_review: The events among `old` that the old end sends to people.
        new: The events to which the new end gives the label.
        new_review: The events among `new` that the new end sends to people.
    """

    old: int = 0
    old_review: int = 0
    new: int = 0
    new_review: int = 0


class DifferingRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    An event for which the two ends have different tags or doors.

    Attributes:
        id: The id of the event.
        topic: The topic of the event.
        partition: The partition of the event.
        offset: The offset of the event in the partition.
        old: The decision of the old end, without `figures`.
        new: The decision of the new end, without `figures`.
        answer: The tag that a person gave; None if no person was asked.
        title: The title of the event; None unless texts were requested.
        description: The description of the event; None unless texts were requested.
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


class Comparison(SliceCount, kw_only=True):
    """
    All counts of one run.

    Attributes:
        events: The records or labelled rows that were read.
        drawn: The events in the sample, including dead letters without an id.
        dead_letters: The events in the sample that at least one end refuses. These events are not compared.
        refused_by_new: The dead letters that only the new end refuses.
        refused_by_old: The dead letters that only the old end refuses.
        unrecorded: The events in the sample for which no decision of the old end is known.
        same: The compared events whose decisions are equal in every figure.
        tags: The compared events by old tag, then by new tag.
        doors: The compared events by old door, then by new door.
        labels: The counts by tag.
        slices: The counts by group of slices, then by slice.
        answered: The discordant events that a person has answered.
        new_right: The answered discordant events to which the person gave the new tag.
        old_right: The answered discordant events to which the person gave the old tag.
        old_digests: The number of compared decisions of the old end, by the digest of the bundle.
        shown: The first rows with different tags or doors.
    """

    events: int = 0
    drawn: int = 0
    dead_letters: int = 0
    refused_by_new: int = 0
    refused_by_old: int = 0
    unrecorded: int = 0
    same: int = 0
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
    def neither_right(self) -> int:
        """The answered discordant events to which the person gave a third tag."""
        return self.answered - self.new_right - self.old_right

    def add(self, old: RowDecision, new: RowDecision, slices: Iterable[tuple[str, str]], *, answer: str | None = None) -> None:
        """
        Count an event that both ends have decided.

        Args:
            old: The decision of the old end.
            new: The decision of the new end.
            slices: The group and the name of each slice that contains the event.
            answer: The tag that a person gave; None if no person was asked.
        """
        seen = {
            "discordant": old.tag != new.tag,
            "old_review": old.destination == "review",
            "new_review": new.destination == "review",
        }
        self.count(**seen)
        self.same += old.figures == new.figures
        _count(self.tags, old.tag, new.tag)
        _count(self.doors, old.destination, new.destination)
        if old.digest:
            self.old_digests[old.digest] = self.old_digests.get(old.digest, 0) + 1
        before = self.labels.setdefault(old.tag, LabelCount())
        before.old += 1
        before.old_review += seen["old_review"]
        after = self.labels.setdefault(new.tag, LabelCount())
        after.new += 1
        after.new_review += seen["new_review"]
        for group, name in slices:
            known = self.slices.setdefault(group, {})
            # Events set the names of sources, so their number is bounded: further sources count as `(other)`.
            told = group != SOURCE or name in known or len(known) < MOST_VALUES
            known.setdefault(name if told else OTHER_SOURCES, SliceCount()).count(**seen)
        if seen["discordant"] and answer is not None:
            self.answered += 1
            self.new_right += answer == new.tag
            self.old_right += answer == old.tag

    def show(self, row: DifferingRow) -> None:
        """Keep a differing row if fewer than `MOST_SHOWN` rows are kept."""
        if len(self.shown) < MOST_SHOWN:
            self.shown.append(row)

    def refuse(self, *, by_old: bool, by_new: bool) -> None:
        """Count an event that is a dead letter for at least one end."""
        self.dead_letters += 1
        self.refused_by_new += by_new and not by_old
        self.refused_by_old += by_old and not by_new

    def as_json(self) -> dict[str, object]:
        """Return the counts and derived figures as plain values."""
        counted: dict[str, object] = msgspec.to_builtins(self)
        # `events` comes first in the output.
        return {"events": self.events, **counted, "agreement": self.agreement, "neither_right": self.neither_right}


def _count(counts: Counts, old: str, new: str) -> None:
    row = counts.setdefault(old, {})
    row[new] = row.get(new, 0) + 1
